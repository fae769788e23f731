"""Makes what browsers show: pictures and films drawn by the browser itself, and sound."""

from __future__ import annotations

import base64
import io
import math
import struct
import wave

from playwright.sync_api import Page

__all__ = ("film", "picture", "sound")

_PICTURE = """([width, height, hue, type]) => {
    const canvas = Object.assign(document.createElement('canvas'), {width, height});
    const context = canvas.getContext('2d');
    const sky = context.createLinearGradient(0, 0, 0, height);
    sky.addColorStop(0, `hsl(${hue} 60% 35%)`);
    sky.addColorStop(1, `hsl(${hue + 50} 80% 80%)`);
    context.fillStyle = sky;
    context.fillRect(0, 0, width, height);
    context.fillStyle = `hsl(${hue + 60} 90% 88%)`;
    context.arc(width * .7, height * .35, height * .1, 0, 7);
    context.fill();
    for (let range = 0; range < 4; range++) {
        context.fillStyle = `hsl(${hue + 10} ${40 - range * 5}% ${40 - range * 9}%)`;
        context.beginPath();
        context.moveTo(0, height);
        for (let x = 0; x <= width; x += 4) {
            const at = x / width * (5 + range) + range * 2 + hue;
            context.lineTo(x, height * (.5 + range * .12 + .08 * Math.sin(at) + .04 * Math.sin(at * 2.7)));
        }
        context.lineTo(width, height);
        context.fill();
    }
    return canvas.toDataURL(type, .85).split(',')[1];
}"""

# Noise, so that the film is too long to be fetched at once.
_FRAMES = """async ([seconds, rate]) => {
    const canvas = Object.assign(document.createElement('canvas'), {width: 640, height: 360});
    const context = canvas.getContext('2d');
    const frames = [];
    const encoder = new VideoEncoder({
        error: error => { throw error; },
        output: chunk => {
            const bytes = new Uint8Array(chunk.byteLength);
            chunk.copyTo(bytes);
            let text = '';
            for (const byte of bytes) text += String.fromCharCode(byte);
            frames.push([chunk.type === 'key', Math.round(chunk.timestamp / 1000), btoa(text)]);
        },
    });
    encoder.configure({codec: 'vp8', width: 640, height: 360, bitrate: 6_000_000, framerate: rate});
    for (let number = 0; number < seconds * rate; number++) {
        context.fillStyle = `hsl(${number * 3} 60% 45%)`;
        context.fillRect(0, 0, 640, 360);
        for (let spot = 0; spot < 2500; spot++) {
            context.fillStyle = `hsl(${Math.random() * 360} 70% 60%)`;
            context.fillRect(Math.random() * 640, Math.random() * 360, 5, 5);
        }
        context.fillStyle = 'white';
        context.font = '120px sans-serif';
        context.fillText(`${Math.floor(number / rate)} s`, 220, 220);
        const frame = new VideoFrame(canvas, {timestamp: number * 1e6 / rate});
        encoder.encode(frame, {keyFrame: number % rate === 0});
        frame.close();
    }
    await encoder.flush();
    return frames;
}"""


def picture(page: Page, width: int, height: int, hue: int, content_type: str = "image/jpeg") -> bytes:
    """Draw a landscape; `hue` is a colour in degrees. The page may be any."""
    encoded: str = page.evaluate(_PICTURE, [width, height, hue, content_type])
    return base64.b64decode(encoded)


def sound(seconds: int) -> bytes:
    """Make a tone, as WAV."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(
            b"".join(struct.pack("<h", int(8000 * math.sin(at * 2 * math.pi / 20))) for at in range(8000 * seconds))
        )
    return file.getvalue()


def film(page: Page, seconds: int, rate: int = 5) -> bytes:
    """Make a film that shows its seconds, as WebM with an index: browsers find any moment without reading all before.

    The page has to be of this machine or of https: browsers encode films for no others.
    """
    frames: list[tuple[bool, int, str]] = page.evaluate(_FRAMES, [seconds, rate])
    clusters: list[tuple[int, bytes]] = []
    for is_key, time, encoded in frames:
        if is_key:
            clusters.append((time, _element(0xE7, _number(time))))
        begin, content = clusters[-1]
        head = struct.pack(">BhB", 0x81, time - begin, 0x80 if is_key else 0)
        clusters[-1] = begin, content + _element(0xA3, head + base64.b64decode(encoded))
    return _webm(seconds, [(time, _element(0x1F43B675, content)) for time, content in clusters])


def _webm(seconds: int, clusters: list[tuple[int, bytes]]) -> bytes:
    """Return a file of these clusters (RFC 9559), each with its time in milliseconds."""
    head = _element(0x1A45DFA3, _element(0x4282, b"webm") + _element(0x4287, b"\x02") + _element(0x4285, b"\x02"))
    duration = _element(0x4489, struct.pack(">d", seconds * 1000.0))
    names = _element(0x4D80, b"tests") + _element(0x5741, b"tests")
    info = _element(0x1549A966, _element(0x2AD7B1, _number(1_000_000)) + duration + names)
    video = _element(0xE0, _element(0xB0, _number(640)) + _element(0xBA, _number(360)))
    track = _element(0xD7, b"\x01") + _element(0x73C5, b"\x01") + _element(0x83, b"\x01") + _element(0x86, b"V_VP8")
    tracks = _element(0x1654AE6B, _element(0xAE, track + video))
    # Positions have eight bytes, so the index is as long before they are known as after.
    index_size = len(_index(clusters, 0))
    content = info + tracks + _index(clusters, len(info + tracks) + index_size) + b"".join(part for _, part in clusters)
    return head + _element(0x18538067, content)


def _index(clusters: list[tuple[int, bytes]], position: int) -> bytes:
    points = b""
    for time, cluster in clusters:
        place = _element(0xF7, b"\x01") + _element(0xF1, struct.pack(">Q", position))
        points += _element(0xBB, _element(0xB3, struct.pack(">Q", time)) + _element(0xB7, place))
        position += len(cluster)
    return _element(0x1C53BB6B, points)


def _element(identity: int, content: bytes) -> bytes:
    # A size in eight bytes, whatever it is (RFC 8794, section 4).
    return _number(identity) + struct.pack(">Q", len(content) | 1 << 56) + content


def _number(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
