"""Codes in packets, for RTP and similar transports: each packet decodes on its own, and lost ones are concealed.

    samples -> EncoderStream, one frame or a few at a time -> codes -> packed -> packet
    packet -> codes -> DecoderStream -> samples                no packet -> concealment

A packet holds codes and nothing else, laid out like a packed chunk of a file (`codec/bitstream/format.py`): a frame of
20 ms with 12 codebooks of 10 bits takes 15 bytes a channel. Each packet resets the quantizer's prediction. So a packet
means the same whatever came before it, and a decoder may start with any of them. The network keeps its state from
packet to packet. The resets cost quality: at the same bitrate, packets of two frames sound better than packets of one,
and a file sounds better than both.

The transport must send once what all packets share: the model (`codec.presets.model_id` identifies it by 8 bytes),
sample rate, channels, codebooks and frames in a packet. It must put packets in order, report missing ones and drop
damaged ones, as RTP does with its numbers and UDP with its checksum. A packet of the wrong size is an error.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from codec.bitstream.packing import pack, packed_size, unpack
from codec.coding.decoder_stream import DecoderStream
from codec.coding.encoder_stream import EncoderStream
from codec.coding.rate_control import Rate
from codec.errors import BitstreamError
from codec.runtime.signals import check_format, check_whole

if TYPE_CHECKING:
    from codec.protocol import StreamingCodec


class PacketShape(NamedTuple):
    """The shape of the codes in a packet."""

    channels: int
    frames: int
    codebooks: int

    def __str__(self) -> str:
        return f"{self.channels} channels, {self.frames} frames, {self.codebooks} codebooks"


class PacketEncoder:
    """Codes live audio in packets: `push` any number of samples and get the packets that are ready.

    Args:
        model: keeps no state, so any number of streams and threads may share it.
        sample_rate: Hz, of the samples that are pushed.
        channels: 1 to 8; two are coded as mid and side, others each on its own.
        bitrate: bits per second and channel; without it and `num_codebooks`, the model's nearest to 6000.
        num_codebooks: for experts, in place of `bitrate`: codes in a frame and channel.
        frames_per_packet: 1 for the least delay, at most a second of frames.

    Attributes:
        packet_size: bytes in every packet.

    Raises:
        ValueError: an argument is not supported, or the model does not offer it.
    """

    def __init__(
        self,
        model: StreamingCodec,
        sample_rate: int,
        channels: int,
        *,
        bitrate: int | None = None,
        num_codebooks: int | None = None,
        frames_per_packet: int = 1,
    ) -> None:
        rate = Rate.of(model.config, bitrate=bitrate, num_codebooks=num_codebooks)
        check_format(sample_rate, channels)
        check_whole("frames_per_packet", frames_per_packet, 1, model.config.reset_interval)
        self._encoder = EncoderStream(
            model,
            sample_rate,
            channels,
            num_codebooks=rate.num_codebooks,
            frames_per_chunk=frames_per_packet,
        )
        self._bits, self._frames = model.config.bits_per_code, frames_per_packet
        self.packet_size = packed_size(channels * frames_per_packet * rate.num_codebooks, self._bits)
        samples = math.ceil(
            frames_per_packet * model.config.hop_length * sample_rate / model.config.sample_rate
        )
        self._silence = np.zeros((samples, channels), np.float32)  # as long as a packet

    def push(self, samples: ArrayLike) -> list[bytes]:
        """Take samples [time, channels] within -1 to 1; return whole packets, maybe none."""
        return [pack(codes, self._bits) for codes in self._encoder.push(samples)]

    def flush(self) -> list[bytes]:
        """End the stream; return the packets that are left. Silence fills the last one."""
        packets = self.push(self._silence)
        whole = [codes for codes in self._encoder.flush() if codes.shape[1] == self._frames]
        return packets + [pack(codes, self._bits) for codes in whole]


class PacketDecoder:
    """Decodes live packets: `push` each one, or None for a lost one, and get the samples that are ready.

    Args:
        model: made the codes; it keeps no state, so any number of streams and threads may share it.
        sample_rate: Hz, of the samples that come out; the encoder's or any other.
        channels: as in the encoder.
        bitrate: as in the encoder.
        num_codebooks: as in the encoder.
        frames_per_packet: as in the encoder.

    Attributes:
        packet_size: bytes in every packet.

    Raises:
        ValueError: an argument is not supported, or the model does not offer it.
    """

    def __init__(
        self,
        model: StreamingCodec,
        sample_rate: int,
        channels: int,
        *,
        bitrate: int | None = None,
        num_codebooks: int | None = None,
        frames_per_packet: int = 1,
    ) -> None:
        rate = Rate.of(model.config, bitrate=bitrate, num_codebooks=num_codebooks)
        check_whole("frames_per_packet", frames_per_packet, 1, model.config.reset_interval)
        self._decoder = DecoderStream(model, sample_rate, channels)
        self._shape = PacketShape(channels, frames_per_packet, rate.num_codebooks)
        self._bits = model.config.bits_per_code
        self.packet_size = packed_size(math.prod(self._shape), self._bits)
        self._last: np.ndarray | None = None  # codes, [channel, frame, codebook]

    def push(self, packet: bytes | None) -> np.ndarray:
        """Take the next packet and return the samples that are ready.

        Args:
            packet: None for a lost packet. The samples then conceal it and are as long as its sound.

        Returns:
            float32 [time, channels].

        Raises:
            ValueError: these are no bytes.
            BitstreamError: this is no packet of this stream. Nothing has changed, so None may be pushed instead.
        """
        if packet is None:
            return self._decoder.conceal(self._shape.frames, self._last)
        self._last = self._unpacked(packet)
        return self._decoder.push(self._last)

    def flush(self) -> np.ndarray:
        """End the stream; return its last samples, including the silence that fills the last packet."""
        return self._decoder.flush()

    def _unpacked(self, packet: bytes) -> np.ndarray:
        if not isinstance(packet, bytes | bytearray | memoryview):
            raise ValueError(f"`packet` must be bytes, or None for a lost one, found {type(packet).__name__}")
        if len(packet) != self.packet_size:
            raise BitstreamError(
                f"a packet of {len(packet)} bytes, expected {self.packet_size}: {self._shape}"
            )
        try:
            codes = unpack(packet, math.prod(self._shape), self._bits)
        except ValueError as error:
            raise BitstreamError(f"a packet with {error}") from error
        return codes.reshape(self._shape)
