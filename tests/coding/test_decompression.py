"""Files to sound: the model is found by the file, damage is refused, and nothing costs memory or an old file."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import shutil
import threading
import tracemalloc
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.coding import compressed, decompressed, sample_codec, sound_of, wav_of
from support.sounds import tone
from support.streams import Pipe

from codec import bitstream
from codec.audio import RawWriter
from codec.coding.compression import compress
from codec.coding.decompression import DecompressionReport, decompress
from codec.coding.encoder_stream import EncoderStream
from codec.errors import AudioError, BitstreamError, CodecError, PresetError, Truncated, WrongModel
from codec.presets import model_id
from codec.protocol import StreamingCodec
from codec.runtime import NumpyCodec


def raw_of(lam: BinaryIO, model: StreamingCodec, **options: Any) -> bytes:
    """Return the sound as 16-bit PCM, also what was written before an error."""
    target = io.BytesIO()
    try:
        decompress(lam, target, model=model, open_writer=RawWriter, **options)
    except Truncated:
        return target.getvalue()
    return target.getvalue()


class TestModel:
    @pytest.fixture
    def lam(self, numpy_codec: NumpyCodec, tmp_path: Path) -> Path:
        path = tmp_path / "a.lam"
        path.write_bytes(compressed(wav_of(tone(0.5, 16000), 16000), numpy_codec, 6))
        return path

    def test_is_found_by_the_identity_in_the_file(
        self,
        lam: Path,
        tiny_preset: Path,
        numpy_codec: NumpyCodec,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        decompress(lam, tmp_path / "expected.wav", model=numpy_codec)
        decompress(lam, tmp_path / "named.wav", model=tiny_preset)
        monkeypatch.setenv("LAMELLA_MODELS", str(tiny_preset.parent))
        decompress(lam, tmp_path / "found.wav")
        for name in ("named.wav", "found.wav"):
            assert (tmp_path / name).read_bytes() == (tmp_path / "expected.wav").read_bytes()

    def test_that_is_not_here_is_named_with_the_file(
        self, lam: Path, numpy_codec: NumpyCodec, tmp_path: Path
    ) -> None:
        with pytest.raises(PresetError) as error:
            decompress(lam, tmp_path / "a.wav")
        message = str(error.value)
        assert message.startswith(
            f"{lam}: no model has the identity {model_id(numpy_codec).hex()}; looked at "
        )
        assert "lamella-48k" in message and "LAMELLA_MODELS" in message and "\n" not in message
        assert list(tmp_path.iterdir()) == [lam]

    def test_that_did_not_make_the_file_is_refused_by_both_identities(
        self, lam: Path, numpy_codec: NumpyCodec, samples_as_codes: StreamingCodec, tmp_path: Path
    ) -> None:
        with pytest.raises(WrongModel) as error:
            decompress(lam, tmp_path / "a.wav", model=samples_as_codes)
        message = str(error.value)
        assert message.startswith(str(lam)) and "\n" not in message
        assert model_id(samples_as_codes).hex() in message and model_id(numpy_codec).hex() in message
        assert list(tmp_path.iterdir()) == [lam]

    def test_with_a_better_decoder_decodes_the_same_file(
        self, lam: Path, tiny_preset: Path, tmp_path: Path
    ) -> None:
        better = Path(shutil.copytree(tiny_preset, tmp_path / "better"))
        decoder = bytearray((better / "decoder.safetensors").read_bytes())
        decoder[-1] ^= 1
        (better / "decoder.safetensors").write_bytes(decoder)
        decompress(lam, tmp_path / "a.wav", model=better)


def test_a_header_that_contradicts_the_model_is_refused(samples_as_codes: StreamingCodec) -> None:
    header = EncoderStream(samples_as_codes, 16000, 1, num_codebooks=32).header(0)
    for changes in (
        {"hop_length": 16},
        {"num_codebooks": 33},
        {"bits_per_code": 8},
        {"model_sample_rate": 8000},
    ):
        file = empty(dataclasses.replace(header, **changes))  # type: ignore[arg-type]
        with pytest.raises(BitstreamError, match="the stream: header: "):
            decompress(io.BytesIO(file), io.BytesIO(), model=samples_as_codes)
    file = empty(dataclasses.replace(header, sample_rate=1000))
    with pytest.raises(AudioError, match="1000 Hz is not supported"):
        decompress(io.BytesIO(file), io.BytesIO(), model=samples_as_codes)


def empty(header: bitstream.Header) -> bytes:
    file = io.BytesIO()
    bitstream.Writer(file, header).close()
    return file.getvalue()


@pytest.mark.parametrize("opened", (io.BytesIO, Pipe))
@pytest.mark.parametrize("num_samples", (2**48, 10**15, 10**6))
def test_absurd_numbers_of_samples_allocate_nothing(
    samples_as_codes: StreamingCodec, opened: Any, num_samples: int
) -> None:
    lam = bytearray(compressed(wav_of(np.zeros((16_000, 1)), 16000), samples_as_codes, 32))
    lam[31:39] = num_samples.to_bytes(8, "little")
    lam[39:43] = zlib.crc32(lam[:39]).to_bytes(4, "little")
    tracemalloc.start()
    with pytest.raises(BitstreamError, match="samples"):
        decompress(opened(bytes(lam)), io.BytesIO(), model=samples_as_codes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000  # bytes


@pytest.mark.parametrize("opened", (io.BytesIO, Pipe))
def test_more_frames_than_the_source_had_are_an_error(samples_as_codes: StreamingCodec, opened: Any) -> None:
    lam = opened(file_of_frames(samples_as_codes, 100, 320))
    with pytest.raises(BitstreamError, match="100 frames for 320 samples, expected at most 11"):
        decompress(lam, io.BytesIO(), model=samples_as_codes)


@pytest.mark.parametrize("opened", (io.BytesIO, Pipe))
@pytest.mark.parametrize("num_samples", (3169, 3179, 3180, 3190, 3200))
def test_a_stream_that_ends_with_the_source_gives_all_its_samples(
    samples_as_codes: StreamingCodec, opened: Any, num_samples: int
) -> None:
    """The decoder lags by 21 samples, for which there are no codes."""
    sound = sound_of(opened(file_of_frames(samples_as_codes, 100, num_samples)), samples_as_codes)
    np.testing.assert_array_equal(sound, np.full((num_samples, 1), -1, np.float32))


def file_of_frames(model: StreamingCodec, frames: int, num_samples: int) -> bytes:
    """Return a live file of codes 0."""
    stream = EncoderStream(model, 16000, 1, num_codebooks=32)
    file = io.BytesIO()
    writer = bitstream.Writer(file, dataclasses.replace(stream.header(None), frames_per_chunk=frames))
    writer.write_chunk(np.zeros((1, frames, 32), int))
    writer.close(num_samples)
    return file.getvalue()


def test_a_failure_overwrites_nothing(samples_as_codes: StreamingCodec, tmp_path: Path) -> None:
    bad, target = tmp_path / "bad", tmp_path / "old.wav"
    target.write_bytes(b"old")
    lam = compressed(wav_of(np.zeros((50_000, 1)), 16000), samples_as_codes, 32)
    flipped = bytearray(lam)
    flipped[len(lam) // 2] ^= 1
    cases: list[tuple[bytes, type[CodecError]]] = [
        (lam[: len(lam) // 2], Truncated),
        (bytes(flipped), BitstreamError),
        (b"", Truncated),
        (b"not a file of ours, by any means, but a long text", BitstreamError),
        (lam[:6] + b"\x02" + lam[7:], BitstreamError),
    ]
    for damaged, error in cases:
        bad.write_bytes(damaged)
        with pytest.raises(error) as raised:
            decompress(bad, target, model=samples_as_codes)
        assert str(raised.value).startswith(str(bad)) and "\n" not in str(raised.value)
        assert sorted(tmp_path.iterdir()) == [bad, target]
        assert target.read_bytes() == b"old"


def test_a_missing_file(samples_as_codes: StreamingCodec, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"missing.lam: cannot be read: No such file"):
        decompress(tmp_path / "missing.lam", tmp_path / "a.wav", model=samples_as_codes)
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 10**6), st.integers(0, 7), st.booleans())
def test_any_flipped_bit_is_found(byte: int, bit: int, piped: bool) -> None:
    model = sample_codec()
    lam = bytearray(compressed(wav_of(np.zeros((20_000, 1)), 16000), model, 32))
    lam[byte % len(lam)] ^= 1 << bit
    with pytest.raises(BitstreamError):
        decompress(cast(BinaryIO, (Pipe if piped else io.BytesIO)(bytes(lam))), io.BytesIO(), model=model)


def test_a_file_sounds_the_same_through_a_pipe(default_codec: NumpyCodec) -> None:
    lam = compressed(wav_of(tone(4.6, 16000), 16000), default_codec, 6)
    assert raw_of(io.BytesIO(lam), default_codec) == raw_of(cast(BinaryIO, Pipe(lam, 1000)), default_codec)


def test_a_pipe_gives_the_samples_of_the_file_but_for_rounding(numpy_codec: NumpyCodec) -> None:
    """A pipe is decoded chunk by chunk, a file several seconds in a step."""
    lam = compressed(wav_of(tone(5.2, 16000), 16000), numpy_codec, 12)
    file, pipe = (
        np.frombuffer(raw_of(cast(BinaryIO, opened), numpy_codec), "<i2").astype(int)
        for opened in (io.BytesIO(lam), Pipe(lam, 1000))
    )
    assert file.shape == pipe.shape == (5.2 * 16000,)
    assert np.abs(file - pipe).max() <= 1 + 0.01 * np.abs(file).max()  # of the untrained model


@pytest.mark.parametrize("opened", [io.BytesIO, Pipe])
def test_the_sound_before_a_cut_is_written(samples_as_codes: StreamingCodec, opened: type) -> None:
    """This holds also for fewer chunks than one step decodes."""
    lam = compressed(wav_of(tone(2.9, 16000), 16000), samples_as_codes, 32)
    whole, cut = (raw_of(opened(data), samples_as_codes) for data in (lam, lam[: len(lam) * 9 // 10]))
    with pytest.raises(Truncated, match="chunk 2 "):
        decompress(opened(lam[: len(lam) * 9 // 10]), io.BytesIO(), model=samples_as_codes)
    assert len(cut) > 1.9 * 16000 * 2  # bytes
    assert whole.startswith(cut)


def test_live_from_pipe_to_pipe(samples_as_codes: StreamingCodec) -> None:
    """Sound comes out while more goes in, and neither end knows the length."""
    (sound_out, sound_in), (lam_out, lam_in) = os.pipe(), os.pipe()
    source, middle = open(sound_out, "rb"), open(lam_in, "wb")  # noqa: SIM115
    lam, microphone = open(lam_out, "rb"), open(sound_in, "wb", buffering=0)  # noqa: SIM115
    result, halfway = io.BytesIO(), threading.Event()

    def send() -> None:
        with source, middle:
            compress(source, middle, model=samples_as_codes, num_codebooks=32)

    def receive() -> None:
        with lam:
            decompress(
                lam,
                result,
                model=samples_as_codes,
                progress=lambda seconds: halfway.set() if seconds > 1 else None,
                open_writer=RawWriter,
            )

    threads = [threading.Thread(target=send), threading.Thread(target=receive)]
    for thread in threads:
        thread.start()
    samples = np.random.default_rng(0).integers(-9000, 9000, 16_000 * 4 + 5).astype("<i2")
    header = bytearray(wav_of(np.zeros((0, 1)), 16000, "PCM_16")[:44])
    header[4:8] = header[40:44] = b"\xff" * 4
    microphone.write(bytes(header) + samples[:48_000].tobytes())
    assert halfway.wait(timeout=20)
    microphone.write(samples[48_000:].tobytes())
    microphone.close()
    for thread in threads:
        thread.join(timeout=20)
    np.testing.assert_array_equal(np.frombuffer(result.getvalue(), "<i2"), samples)


class TestReport:
    def test_of_a_file_without_clipping(self, samples_as_codes: StreamingCodec) -> None:
        times: list[float] = []
        lam = compressed(wav_of(np.full((40_000, 2), 0.9), 8000), samples_as_codes, 32)
        _, report = decompressed(io.BytesIO(lam), samples_as_codes, "PCM_16", progress=times.append)
        assert report[:5] == (5.0, 8000, 2, 40_000, 0) and report.losses == ()
        assert 0.9 < report.peak < 1 and not report.clipping_is_audible
        assert times == sorted(times) and times[-1] == 5.0

    @pytest.mark.parametrize(
        ("clipped", "peak", "audible"),
        [
            (0, 0.99, False),
            (100, 1.3, False),
            (161, 1.05, True),
            (1, 1.42, True),
            (0, 5.0, False),  # a format in floating point, which clips nothing
        ],
    )
    def test_says_whether_clipping_is_audible(self, clipped: int, peak: float, audible: bool) -> None:
        report = DecompressionReport(5.0, 16000, 2, 80_000, clipped, peak, ())
        assert report.clipping_is_audible == audible
        assert not DecompressionReport(0.0, 16000, 2, 0, 0, 0.0, ()).clipping_is_audible

    def test_counts_clipped_samples_and_gives_the_peak(self) -> None:
        model = sample_codec(gain=4)
        lam = compressed(wav_of(tone(1.5, 16000), 16000), model, 32)
        sound = sound_of(io.BytesIO(lam), model)
        _, report = decompressed(io.BytesIO(lam), model, "PCM_16")
        assert report.clipped == np.count_nonzero(np.abs(sound) > 1) > 0
        assert report.peak == np.abs(sound).max() > 1 and report.clipping_is_audible

    @pytest.mark.parametrize("opened", (io.BytesIO, functools.partial(Pipe, step=999)))
    @pytest.mark.parametrize("damage", (b"\xff", b"\xff" * 43))
    def test_says_that_a_damaged_header_was_repaired(
        self, samples_as_codes: StreamingCodec, opened: Any, damage: bytes
    ) -> None:
        lam = compressed(wav_of(tone(0.5, 16000), 16000), samples_as_codes, 32)
        whole = sound_of(io.BytesIO(lam), samples_as_codes)
        with pytest.raises(BitstreamError):
            sound_of(opened(damage + lam[len(damage) :]), samples_as_codes)
        sound, report = decompressed(opened(damage + lam[len(damage) :]), samples_as_codes, recover=True)
        np.testing.assert_array_equal(sound, whole)
        assert report.header_repaired and report.losses == ()
        assert not decompressed(opened(lam), samples_as_codes, recover=True)[1].header_repaired
