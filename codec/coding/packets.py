"""Codes in packets, for RTP and the like: each one decodes without the others, and a lost one is concealed.

    samples -> EncoderStream, one frame or some at a time -> codes -> packed -> packet
    packet -> codes -> DecoderStream -> samples               no packet -> what conceals it

A packet is codes and nothing else, laid out like a packed chunk of a file (`codec/bitstream/format.py`): those of one
frame of 20 ms with 12 codebooks of 10 bits are 15 bytes a channel. The quantizer's prediction begins anew in each, so a
packet means the same whatever came before it, and a decoder may begin with any; what its network has heard goes on.
That costs quality: at one bitrate, packets of two frames sound better than those of one, and a file better than both.

The transport tells the decoder, once, what is the same for all packets: the model (`codec.presets.model_id` names it in
8 bytes), sample rate, channels, codebooks and frames in a packet. It puts packets into order, tells which are missing,
and drops damaged ones, as RTP with its numbers and UDP with its checksum do. A packet of the wrong size is an error.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from codec.bitstream.packing import pack, packed_size, unpack
from codec.coding.compression import EncoderStream
from codec.coding.decoder_stream import DecoderStream
from codec.errors import BitstreamError

if TYPE_CHECKING:
    from codec.config import CodecConfig
    from codec.network.codec import Codec
    from codec.runtime.codec import NumpyCodec


class PacketEncoder:
    """Code live audio in packets: `push` any number of samples, get the packets that are ready.

    Args:
        codec: the model; it keeps no state, so any number of streams may share it, each in a thread if you like.
        sample_rate: Hz, of what is pushed.
        channels: 1 .. 8; two are coded as mid and side, others each by itself.
        num_codebooks: codes in a frame and channel: the bitrate.
        frames_per_packet: 1 for the least delay, at most a second of them.

    Attributes:
        packet_size: bytes of every packet.

    Raises ValueError for numbers that the model does not have.
    """

    def __init__(
        self,
        codec: Codec | NumpyCodec,
        sample_rate: int,
        channels: int,
        num_codebooks: int,
        frames_per_packet: int = 1,
    ) -> None:
        config = codec.config
        shape = _shape(config, channels, num_codebooks, frames_per_packet)
        self._encoder = EncoderStream(codec, sample_rate, channels, num_codebooks, frames_per_packet)
        self.packet_size = packed_size(math.prod(shape), config.bits_per_code)
        self._bits, self._frames = config.bits_per_code, frames_per_packet
        samples = math.ceil(frames_per_packet * config.hop_length * sample_rate / config.sample_rate)
        self._silence = np.zeros((samples, channels), np.float32)  # as long as a packet

    def push(self, samples: np.ndarray) -> list[bytes]:
        """Take samples [time, channels]; return whole packets, maybe none."""
        return [pack(codes, self._bits) for codes in self._encoder.push(samples)]

    def flush(self) -> list[bytes]:
        """End the stream, with silence to fill its last packet; return the packets that are left."""
        packets = self.push(self._silence)
        whole = [codes for codes in self._encoder.flush() if codes.shape[1] == self._frames]
        return packets + [pack(codes, self._bits) for codes in whole]


class PacketDecoder:
    """Decode live packets: `push` each one, or None for a lost one, get the samples that are ready.

    Args:
        codec: the model that coded them; it keeps no state, so any number of streams may share it, as above.
        sample_rate: Hz, of the samples that come out; the encoder's or any other.
        channels: as the encoder has them, and so the next two.
        num_codebooks: codes in a frame and channel.
        frames_per_packet: 1, or as many as the encoder was told.

    Attributes:
        packet_size: bytes of every packet.

    Raises ValueError for numbers that the model does not have.
    """

    def __init__(
        self,
        codec: Codec | NumpyCodec,
        sample_rate: int,
        channels: int,
        num_codebooks: int,
        frames_per_packet: int = 1,
    ) -> None:
        self._shape = _shape(codec.config, channels, num_codebooks, frames_per_packet)
        self._bits = codec.config.bits_per_code
        self.packet_size = packed_size(math.prod(self._shape), self._bits)
        self._decoder = DecoderStream(codec, sample_rate, channels)
        self._last: np.ndarray | None = None  # codes, [channel, frame, codebook]

    def push(self, packet: bytes | None) -> np.ndarray:
        """Take the next packet; return the samples that are ready, float32 [time, channels].

        None stands for a packet that is lost: what is returned conceals it, and is as long as its sound.

        Raises BitstreamError for what is no packet of this stream. Then nothing has changed: None may take its place.
        """
        if packet is None:
            return self._decoder.conceal(self._shape[1], self._last)
        if len(packet) != self.packet_size:
            channels, frames, codebooks = self._shape
            raise BitstreamError(
                f"a packet of {len(packet)} bytes, expected {self.packet_size}: "
                f"{channels} channels, {frames} frames, {codebooks} codebooks"
            )
        try:
            codes = unpack(packet, math.prod(self._shape), self._bits)
        except ValueError as error:
            raise BitstreamError(f"a packet with {error}") from error
        self._last = codes.reshape(self._shape)
        return self._decoder.push(self._last)

    def flush(self) -> np.ndarray:
        """End the stream; return its last samples, with what the encoder filled its last packet by."""
        return self._decoder.flush()


def _shape(
    config: CodecConfig, channels: int, num_codebooks: int, frames_per_packet: int
) -> tuple[int, int, int]:
    """Of a packet's codes: [channel, frame, codebook]."""
    limits = {
        "channels": (channels, 8),
        "num_codebooks": (num_codebooks, config.num_codebooks),
        "frames_per_packet": (frames_per_packet, config.reset_interval),
    }
    for name, (value, most) in limits.items():
        if not 1 <= value <= most:
            raise ValueError(f"`{name}` must be 1 to {most}, found {value}")
    return channels, frames_per_packet, num_codebooks
