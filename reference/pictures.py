"""Writes test/fixtures/pictures/: unusual picture files, and how Pillow and transformers decode them.

In:  nothing; every pixel comes from a formula.
Out:
  *.jpg *.png *.gif *.webp *.avif *.tif   the pictures, one oddity each
  expected.bin    zlib streams of raw RGB or float32 bytes, one after another
  expected.json   position of each stream (`at`, `size`) and its meaning; a sha256 instead of large streams

Pins: pillow 13.0.0, numpy 2.4.6, transformers 5.18.0 (checked below, because other versions may round differently).
Run:  python reference/pictures.py

Expected values:
  as_transformers   Image.open(f).convert("RGB")
  as_seen           ImageOps.exif_transpose, then pasted on white through its own alpha; 16-bit grey by its high
                    byte; the area outside a GIF's first frame is transparent, as in browsers
"""

import hashlib
import io
import json
import struct
import warnings
import zlib
from pathlib import Path

import numpy
import PIL
import transformers
from PIL import Image, ImageOps

assert PIL.__version__ == "13.0.0", PIL.__version__
assert transformers.__version__ == "5.18.0", transformers.__version__
warnings.simplefilter("ignore")

HERE = Path(__file__).resolve().parent.parent / "test/fixtures/pictures"
blobs = bytearray()
made = {"pillow": PIL.__version__, "transformers": transformers.__version__, "pictures": [], "resized": [], "pixels": []}


def keep(data):
    packed = zlib.compress(data, 9)
    at = blobs.find(packed)  # equal streams are stored once
    if at < 0:
        at = len(blobs)
        blobs.extend(packed)
    return {"at": at, "size": len(packed)}


# --- pixels from formulas -----------------------------------------------------------------------------------


def scene(width, height, channels=3):
    """Slopes, a disc and an edge: smooth enough for JPEG, with colours that saturate. uint8 [H, W, channels]."""
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.float64)
    u, v = x / max(width - 1, 1), y / max(height - 1, 1)
    disc = ((u - 0.6) ** 2 + (v - 0.4) ** 2 < 0.06) * 1.0
    layers = [u * 255, v * 255, (1 - u) * 128 + disc * 127, numpy.clip((u + v) * 160 - 30, 0, 255)]
    layers[0] = layers[0] * (1 - disc) + 250 * disc
    return numpy.stack(layers[:channels], -1).round().astype(numpy.uint8)


def noise(width, height, channels=3, seed=1):
    """The generator of test/image/noise.ts: s = s * 1664525 + 1013904223 mod 2**32, value = s >> 24. uint8 [H, W, C]."""
    count = width * height * channels
    out, s = numpy.empty(count, numpy.uint8), seed
    for i in range(count):
        s = (s * 1664525 + 1013904223) & 0xFFFFFFFF
        out[i] = s >> 24
    return out.reshape(height, width, channels)


# --- writers for what Pillow cannot write -------------------------------------------------------------------


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(values, depth, colour, interlaced=False, extra=b"", size=None):
    """PNG (ISO 15948) from [H, W, C] integers of `depth` bits; `size` overrides what the header says."""
    height, width, _ = values.shape

    def rows(part):
        out = b""
        for row in part:
            flat = row.reshape(-1)
            if depth == 16:
                line = flat.astype(">u2").tobytes()
            elif depth == 8:
                line = flat.astype(numpy.uint8).tobytes()
            else:
                bits = "".join(format(int(v), f"0{depth}b") for v in flat)
                bits += "0" * (-len(bits) % 8)
                line = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
            out += b"\0" + line
        return out

    parts = [values[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [values]
    data = b"".join(rows(p) for p in parts if p.size)
    says = size or (width, height)
    header = struct.pack(">IIBBBBB", *says, depth, colour, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def packed(values, depth, order):
    """Rows of [H, W, C] integers of `depth` bits, each row from a whole byte on."""
    if depth >= 8:
        return values.astype(f"{order}u{depth // 8}").tobytes()
    bits = (values.reshape(len(values), -1, 1) >> numpy.arange(depth - 1, -1, -1)) & 1
    return numpy.packbits(bits.reshape(len(values), -1).astype(numpy.uint8), axis=1).tobytes()


def halved(ycbcr):
    """YCbCr with colour at half width and height: four times Y, then Cb and Cr, of each 2 x 2 pixels."""
    height, width, _ = ycbcr.shape
    blocks = ycbcr.reshape(height // 2, 2, width // 2, 2, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 4, 3)
    return numpy.concatenate([blocks[:, :, 0], blocks[:, :, 1:].mean(1).round()], -1).astype(numpy.uint8).tobytes()


def tiff(values, photometric, depth=8, order="<", big=False, planes=False, tile=0, deflate=True, following=0, **tags):
    """TIFF 6.0 or BigTIFF from [H, W, C] integers, the directory first. `tags` are named `t338`, with one or more
    numbers, or pairs of them; `following` is the offset of the next directory."""
    height, width, samples = values.shape
    parts = []
    for layer in numpy.split(values, samples, 2) if planes else [values]:
        for y in range(0, height, tile or 4):
            for x in range(0, width, tile or width):
                part = layer[y : y + (tile or 4), x : x + (tile or width)]
                if tile:
                    part = numpy.pad(part, ((0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0)))
                halve = tags.get("t530") == [2, 2]
                parts.append(halved(part) if halve else packed(part, depth, order))
    parts = [zlib.compress(p, 9) for p in parts] if deflate else parts
    entries = {256: [width], 257: [height], 258: [depth] * samples, 259: [8 if deflate else 1], 262: [photometric], 277: [samples]}
    entries.update({322: [tile], 323: [tile], 324: parts, 325: [len(p) for p in parts]} if tile else {273: parts, 278: [4], 279: [len(p) for p in parts]})
    if planes:
        entries[284] = [2]
    entries.update({int(name[1:]): value for name, value in tags.items()})

    word, mark = ("Q" if big else "I"), (b"II" if order == "<" else b"MM")
    head = struct.pack(order + "2sHHHQ", mark, 43, 8, 0, 16) if big else struct.pack(order + "2sHI", mark, 42, 8)
    size = struct.calcsize(order + word)
    after = len(head) + (8 if big else 2) + len(entries) * (4 + 2 * size) + size

    def directory(start):
        inside, outside = struct.pack(order + ("Q" if big else "H"), len(entries)), b""
        for tag, value in sorted(entries.items()):
            if value is parts:
                kind, data = 4, numpy.cumsum([start] + [len(p) for p in parts[:-1]]).astype(order + "u4").tobytes()
            elif isinstance(value[0], tuple):
                kind, data = 5, numpy.array(value).astype(order + "u4").tobytes()
            else:
                kind, data = 3, numpy.array(value).astype(order + "u2").tobytes()
            if len(data) > size:
                outside, data = outside + data, struct.pack(order + word, after + len(outside))
            inside += struct.pack(order + "HH" + word, tag, kind, len(value)) + data.ljust(size, b"\0")
        return inside + struct.pack(order + word, following) + outside

    return head + directory(len(head) + len(directory(0))) + b"".join(parts)


def deep(width, height, channels):
    """16-bit values whose low byte changes a rounded result. uint16 [H, W, C]."""
    return scene(width, height, channels).astype(numpy.uint32) * 256 + noise(width, height, channels, 9).astype(numpy.uint32)


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation):
    e = Image.Exif()
    e[0x0112] = orientation
    return e.tobytes()


# --- expected values ----------------------------------------------------------------------------------------


def as_transformers(data):
    return numpy.array(Image.open(io.BytesIO(data)).convert("RGB"))


def as_seen(data):
    image = Image.open(io.BytesIO(data))
    outside = None
    if image.format == "GIF":
        outside = Image.new("L", image.size, 255)
        outside.paste(0, image.tile[0].extents)
    image.load()
    if image.mode.startswith("I;16"):
        high = Image.fromarray((numpy.array(image) >> 8).astype(numpy.uint8))
        high.info = dict(image.info)
        high.info.pop("transparency", None)
        if "transparency" in image.info:
            alpha = (numpy.array(image) != image.info["transparency"]) * 255
            high.putalpha(Image.fromarray(alpha.astype(numpy.uint8)))
        image = high
    if outside is not None:
        image = image.convert("RGBA")
        image.paste((0, 0, 0, 0), mask=outside)
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        return numpy.array(white)
    return numpy.array(image.convert("RGB"))


def picture(name, data, like=None, mean_difference=0):
    """`like`: the same picture in a file that Pillow reads correctly, if it cannot read this one correctly."""
    (HERE / name).write_bytes(data)
    plain, seen = as_transformers(like or data), as_seen(like or data)
    entry = {"name": name, "mode": Image.open(io.BytesIO(like or data)).mode}
    if mean_difference:
        entry["mean_difference"] = mean_difference
    for rule, rgb in (("as_transformers", plain), ("as_seen", seen)):
        entry[rule] = {"height": rgb.shape[0], "width": rgb.shape[1], **keep(rgb.tobytes())}
    made["pictures"].append(entry)


def pictures():
    rgb, rgba, grey = scene(23, 17), scene(23, 17, 4), scene(23, 17, 1)
    photo = scene(96, 72)
    palette = bytes(int(v) for v in noise(16, 1, 3, 5).reshape(-1))
    index = (scene(23, 17, 1) >> 4) & 15
    picture("one-pixel.png", png(rgb[:1, :1], 8, 2))
    picture("wide.png", png(scene(3000, 1), 8, 2))
    picture("rgb.png", png(rgb, 8, 2))
    picture("rgb-interlaced.png", png(rgb, 8, 2, interlaced=True))
    picture("rgb-gamma-icc.png", png(rgb, 8, 2, extra=chunk(b"gAMA", struct.pack(">I", 100000)) + icc_chunk()))
    picture("rgb-key.png", png(rgb & 0xF0, 8, 2, extra=chunk(b"tRNS", struct.pack(">HHH", 0, 0, 0x80))))
    picture("rgba.png", png(rgba, 8, 6))
    picture("rgba-orientation-6.png", png(rgba, 8, 6, extra=chunk(b"eXIf", exif(6)[6:])))
    picture("rgba-interlaced.png", png(rgba, 8, 6, interlaced=True))
    picture("rgb16.png", png(deep(23, 17, 3), 16, 2))
    picture("rgba16.png", png(deep(23, 17, 4) | 0xFF, 16, 6))
    picture("grey1.png", png(grey >> 7, 1, 0))
    picture("grey2.png", png(grey >> 6, 2, 0))
    picture("grey4.png", png(grey >> 4, 4, 0))
    picture("grey8.png", png(grey, 8, 0))
    picture("grey8-key.png", png(grey & 0xF0, 8, 0, extra=chunk(b"tRNS", struct.pack(">H", 0x80))))
    picture("grey16.png", png(deep(23, 17, 1) >> numpy.arange(17, dtype=numpy.uint32)[:, None, None], 16, 0))
    picture("grey16-key.png", png(deep(23, 17, 1) & 0xF000, 16, 0, extra=chunk(b"tRNS", struct.pack(">H", 0x8000))))
    picture("grey-alpha8.png", png(rgba[:, :, [0, 3]], 8, 4))
    picture("grey-alpha16.png", png(deep(23, 17, 2) | 0xFF, 16, 4))
    plte = chunk(b"PLTE", palette)
    picture("palette1.png", png(index >> 3, 1, 3, extra=chunk(b"PLTE", palette[:6])))
    picture("palette4.png", png(index, 4, 3, extra=plte))
    picture("palette8-alpha.png", png(index, 8, 3, extra=plte + chunk(b"tRNS", bytes(range(0, 256, 17))[:11])))
    frames = [Image.fromarray(scene(23, 17)), Image.fromarray(255 - scene(23, 17))]
    picture("animated.png", saved(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=100))

    image = Image.fromarray(photo)
    picture("photo.jpg", saved(image, "JPEG", quality=90))
    picture("photo-444.jpg", saved(image, "JPEG", quality=90, subsampling=0))
    picture("photo-progressive.jpg", saved(image, "JPEG", quality=80, progressive=True, icc_profile=wide_profile()))
    picture("photo-restart.jpg", saved(image, "JPEG", quality=80, restart_marker_rows=1))
    picture("grey.jpg", saved(Image.fromarray(scene(40, 30, 1)[:, :, 0]), "JPEG"))
    picture("rgb-unconverted.jpg", saved(Image.fromarray(scene(40, 30)), "JPEG", keep_rgb=True))
    cmyk = saved(Image.fromarray(scene(40, 30, 4), "CMYK"), "JPEG", quality=95)
    mark = cmyk.index(b"\xff\xee\x00\x0eAdobe")
    picture("cmyk.jpg", cmyk)
    picture("ycck.jpg", cmyk[: mark + 15] + b"\x02" + cmyk[mark + 16 :])
    picture("cmyk-unmarked.jpg", cmyk[:mark] + cmyk[mark + 16 :])
    for turn in range(1, 9):
        picture(f"orientation-{turn}.jpg", saved(Image.fromarray(scene(24, 16)), "JPEG", quality=95, exif=exif(turn)))
    picture("orientation-absurd.jpg", saved(Image.fromarray(scene(24, 16)), "JPEG", quality=95, exif=exif(77)))

    flat = Image.fromarray(rgb).quantize(13)
    picture("palette.gif", saved(flat, "GIF"))
    picture("transparent.gif", saved(flat, "GIF", transparency=4))
    picture("grey.gif", saved(Image.fromarray(grey[:, :, 0]), "GIF"))
    picture("animated.gif", saved(flat, "GIF", save_all=True, append_images=[Image.fromarray(255 - rgb).quantize(9)], duration=80))
    picture("interlaced.gif", saved(flat, "GIF", interlace=1))
    for name, canvas, key in (
        ("inset.gif", (12, 10), None),
        ("inset-transparent.gif", (12, 10), 2),
        ("inset-640x480.gif", (640, 480), None),
        ("larger-than-canvas.gif", (6, 4), None),
        ("no-canvas.gif", (0, 0), 2),
        ("inset-transparent-past-colours.gif", (12, 10), 200),
    ):
        picture(name, inset_gif(canvas, key))

    picture("lossless.webp", saved(Image.fromarray(rgb), "WEBP", lossless=True))
    picture("lossless-alpha.webp", saved(Image.fromarray(rgba), "WEBP", lossless=True, exact=True))
    picture("lossy.webp", saved(image, "WEBP", quality=85, exif=exif(3)))
    picture("lossy-alpha.webp", saved(Image.fromarray(scene(40, 30, 4)), "WEBP", quality=80))
    moving = [Image.fromarray(rgba), Image.fromarray(255 - rgba)]
    picture("animated.webp", saved(moving[0], "WEBP", save_all=True, append_images=moving[1:], lossless=True, duration=90))

    avifs(image)
    tiffs(palette)

    for name, compression in (("rgb.tif", None), ("rgb-lzw.tif", "tiff_lzw"), ("rgb-deflate.tif", "tiff_adobe_deflate")):
        picture(name, saved(Image.fromarray(rgb), "TIFF", compression=compression))
    picture("rgba.tif", saved(Image.fromarray(rgba), "TIFF"))
    picture("bilevel.tif", saved(Image.fromarray(grey[:, :, 0] > 127), "TIFF"))
    picture("fax.tif", saved(Image.fromarray(grey[:, :, 0] > 127), "TIFF", compression="group4"))
    picture("palette.tif", saved(flat, "TIFF"))
    picture("cmyk.tif", saved(Image.fromarray(scene(23, 17, 4), "CMYK"), "TIFF"))
    picture("grey16.tif", saved(Image.fromarray((deep(23, 17, 1)[:, :, 0] >> 4).astype(numpy.uint16)), "TIFF"))
    picture("orientation-6.tif", saved(Image.fromarray(rgb), "TIFF", tiffinfo={274: 6}))
    pages = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    picture("two-pages.tif", saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))


def timeless(avif):
    """Clears the timestamps, so that the fixture is reproducible: 64 bits each after version 1 and flags."""
    out = bytearray(avif)
    for box in (b"mvhd\1\0\0", b"tkhd\1\0\0", b"mdhd\1\0\0"):
        at = avif.index(box) + 8
        out[at : at + 16] = bytes(16)
    return bytes(out)


def avifs(image):
    def avif(image, quality=95, subsampling="4:4:4", **options):
        return saved(image, "AVIF", quality=quality, subsampling=subsampling, **options)

    rgba = Image.fromarray(scene(40, 30, 4))
    # libheif and libavif round differently by 1 or 2, and upsample halved colour differently, by more at edges.
    picture("photo.avif", avif(image, 90, "4:2:0"), mean_difference=4)
    picture("alpha.avif", avif(rgba, 95, "4:2:0"), mean_difference=4)
    picture("premultiplied.avif", avif(rgba, alpha_premultiplied=True), mean_difference=1)
    picture("grey-limited.avif", avif(Image.fromarray(scene(40, 30, 1)[:, :, 0]), range="limited", subsampling="4:0:0"), mean_difference=1)
    small = Image.fromarray(scene(24, 16))
    still = avif(small)
    assert still[8:32] == b"avif\0\0\0\0avifmif1miafMA1A", still[:32]
    picture("general-brand.avif", still[:8] + b"mif1" + still[12:], mean_difference=1)
    moving = timeless(avif(small, save_all=True, append_images=[Image.fromarray(255 - scene(24, 16))], duration=100))
    assert moving[8:12] == b"avis", moving[:12]
    picture("animated.avif", moving, mean_difference=1)
    picture("animated-general-brand.avif", moving[:8] + b"msf1" + moving[12:], mean_difference=1)


def tiffs(palette):
    """Cases that libvips ignores: the meaning of extra samples, of YCbCr, and of tags out of order."""
    rgb, rgba, grey = scene(10, 6), scene(10, 6, 4), scene(10, 6, 1)
    deep_rgb, deep_rgba, index = deep(10, 6, 3), deep(10, 6, 4), grey >> 4
    plain = tiff(rgb, 2)
    picture("big-endian.tif", tiff(rgb, 2, order=">"))
    picture("bigtiff.tif", tiff(rgb, 2, big=True))
    picture("bigtiff-big-endian.tif", tiff(rgb, 2, order=">", big=True), like=plain)
    picture("tiles.tif", tiff(scene(23, 17), 2, tile=16))
    picture("planes.tif", tiff(rgb, 2, planes=True))
    picture("orientation-0.tif", tiff(rgb, 2, t274=[0]))
    picture("next-page-broken.tif", tiff(rgb, 2, following=8 + 2), like=plain)
    picture("rgb16.tif", tiff(deep_rgb, 2, 16))
    picture("rgb16-planes.tif", tiff(deep_rgb, 2, 16, order=">", planes=True), like=tiff(deep_rgb, 2, 16))
    picture("grey1-white-is-0.tif", tiff(grey >> 7, 0, 1))
    picture("grey1-planes.tif", tiff(grey >> 7, 1, 1, t284=[2]))
    picture("grey2.tif", tiff(grey >> 6, 1, 2))
    picture("grey4-white-is-0.tif", tiff(grey >> 4, 0, 4))
    picture("grey8-white-is-0.tif", tiff(grey, 0))
    colours = list(numpy.frombuffer(palette, numpy.uint8).reshape(16, 3).T.reshape(-1).astype(int) * 257)
    picture("palette4.tif", tiff(index, 3, 4, t320=colours))
    # Pillow reads 8-bit palettes, which the specification does not define, as nearly black.
    picture("palette4-of-bytes.tif", tiff(index, 3, 4, t320=[c // 257 for c in colours]), like=tiff(index, 3, 4, t320=colours))

    # Extra samples: 0 is unspecified, 1 is premultiplied alpha, 2 is straight alpha.
    rgbaa = numpy.concatenate([rgba, rgba[:, :, 3:]], 2)
    rgbxa = numpy.concatenate([rgba[:, :, :3], grey, rgba[:, :, 3:]], 2)
    share = rgba[:, :, 3:].astype(int)
    picture("rgb-more.tif", tiff(rgba, 2, t338=[0]))
    picture("rgb-two-more.tif", tiff(rgbaa, 2, t338=[0, 0]))
    picture("rgb-alpha.tif", tiff(rgba, 2, t338=[2]))
    picture("rgb-alpha-unsaid.tif", tiff(rgba, 2))
    picture("rgb-alpha-corel.tif", tiff(rgba, 2, t338=[999]))
    picture("rgb-alpha-more.tif", tiff(rgbaa, 2, t338=[2, 0]))
    picture("rgb-more-alpha.tif", tiff(rgbxa, 2, t338=[0, 2]), like=tiff(rgba, 2, t338=[2]))
    picture("rgb-more-planes.tif", tiff(rgba, 2, planes=True, t338=[0]))
    picture("rgb16-more.tif", tiff(deep_rgba, 2, 16, t338=[0]))
    picture("rgb-premultiplied.tif", tiff(numpy.concatenate([rgb * share // 255, share], 2), 2, t338=[1]), mean_difference=1)
    picture("grey-more.tif", tiff(rgba[:, :, [0, 3]], 1, t338=[0]))
    picture("grey-alpha.tif", tiff(rgba[:, :, [0, 3]], 1, t338=[2]))
    unmultiplied = numpy.where(share, numpy.minimum(grey * share // 255 * 255 // numpy.maximum(share, 1), 255), 0)
    premultiplied = tiff(numpy.concatenate([grey * share // 255, share], 2), 1, t338=[1])
    picture("grey-premultiplied.tif", premultiplied, like=tiff(numpy.concatenate([unmultiplied, share], 2), 1, t338=[2]), mean_difference=1)
    deep_alpha = tiff(rgba[:, :, [0, 3]].astype(int) * 257, 1, 16, t338=[2])
    picture("grey16-alpha.tif", deep_alpha, like=tiff(rgba[:, :, [0, 3]], 1, t338=[2]))
    several = [c * 257 for c in noise(256, 1, 3, 6).reshape(-1).astype(int).tolist()]
    picture("palette-more.tif", tiff(numpy.concatenate([grey, rgba[:, :, 3:]], 2), 3, t338=[0], t320=several))
    picture("palette-alpha.tif", tiff(numpy.concatenate([grey, rgba[:, :, 3:]], 2), 3, t338=[2], t320=several))
    inks = numpy.concatenate([rgba, rgba[:, :, 3:]], 2)
    light = numpy.array(Image.fromarray(rgba, "CMYK").convert("RGB"))
    picture("cmyk-more.tif", tiff(inks, 5, t338=[0]))
    picture("cmyk-alpha.tif", tiff(inks, 5, t338=[2]), like=png(numpy.concatenate([light, rgba[:, :, 3:]], 2), 8, 6))
    picture("cmyk16.tif", tiff(deep_rgba, 5, 16))
    picture("cmyk16-planes.tif", tiff(deep_rgba, 5, 16, planes=True), like=tiff(deep_rgba, 5, 16))

    ycbcr = numpy.array(Image.fromarray(scene(12, 8)).convert("YCbCr"))
    full = tiff(ycbcr, 6, t530=[1, 1])
    # Range 16 to 235, with the HDTV coefficients.
    narrow = dict(t530=[1, 1], t529=[(2126, 10000), (7152, 10000), (722, 10000)], t532=[(16, 1), (235, 1), (128, 1), (240, 1), (128, 1), (240, 1)])
    # Pillow converts uncompressed files itself; it rounds differently by 1 and ignores the range.
    picture("ycbcr.tif", full)
    picture("ycbcr-plain.tif", tiff(ycbcr, 6, deflate=False, t530=[1, 1]), like=full)
    picture("ycbcr-tiles.tif", tiff(ycbcr, 6, tile=16, order=">", t530=[1, 1]))
    picture("ycbcr-planes.tif", tiff(ycbcr, 6, planes=True, t530=[1, 1]), like=full)
    picture("ycbcr-orientation-5.tif", tiff(ycbcr, 6, t274=[5], t530=[1, 1]))
    picture("ycbcr-narrow.tif", tiff(ycbcr, 6, **narrow))
    picture("ycbcr-narrow-plain.tif", tiff(ycbcr, 6, deflate=False, **narrow), like=tiff(ycbcr, 6, **narrow))
    picture("ycbcr16.tif", tiff(ycbcr.astype(int) * 257, 6, 16, t530=[1, 1]), like=full)
    picture("ycbcr-halved.tif", tiff(ycbcr, 6, t530=[2, 2]))
    picture("ycbcr-halved-plain.tif", tiff(ycbcr, 6, deflate=False, t530=[2, 2]), like=tiff(ycbcr, 6, t530=[2, 2]))
    for mode in ("RGB", "L", "CMYK"):
        picture(f"jpeg-{mode.lower()}.tif", saved(Image.fromarray(scene(12, 8)).convert(mode), "TIFF", compression="jpeg"))
    from PIL import ImageCms

    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(scene(12, 8)), srgb, lab, outputMode="LAB")
    codes = numpy.frombuffer(Image.open(io.BytesIO(saved(image, "TIFF"))).tobytes("raw", "LAB"), numpy.uint8).reshape(8, 12, 3)
    # Pillow converts with littleCMS, whose tables lose more precision than this.
    picture("lab.tif", tiff(codes, 8), mean_difference=2)
    picture("lab16.tif", tiff(codes.astype(int) * 257, 8, 16), like=tiff(codes, 8), mean_difference=2)
    picture("lab-planes.tif", tiff(codes, 8, planes=True), like=tiff(codes, 8), mean_difference=2)


def wide_profile():
    """An RGB profile that swaps red and blue: a decoder that applies it gives other colours."""
    from PIL import ImageCms

    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = data.index(b"rXYZ"), data.index(b"bXYZ")
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    data[84:100] = bytes(16)  # profile id: "not computed"
    data[24:36] = bytes([7, 228, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])  # a fixed date, so that the fixture is reproducible
    return bytes(data)


def icc_chunk():
    return chunk(b"iCCP", b"swapped\0\0" + zlib.compress(wide_profile(), 9))


def inset_gif(canvas, transparency):
    """A canvas whose only frame is 5 x 4 at (3, 2); tests the area outside it and transparency."""
    colours = noise(8, 1, 3, 3).tobytes()
    whole = saved(Image.fromarray((scene(5, 4, 1)[:, :, 0] >> 5), "L").convert("P"), "GIF")
    frame = whole.index(b"\x2c")
    body = whole[frame + 10 :]
    if whole[frame + 9] & 0x80:
        body = whole[frame + 10 + 3 * (2 << (whole[frame + 9] & 7)) :]
    control = b"" if transparency is None else bytes([0x21, 0xF9, 4, 1, 0, 0, transparency, 0])
    descriptor = b"\x2c" + struct.pack("<HHHH", 3, 2, 5, 4) + b"\0"
    return b"GIF89a" + struct.pack("<HH", *canvas) + bytes([0xF2, 6, 0]) + colours + control + descriptor + body


# --- resize and pixels --------------------------------------------------------------------------------------

FILTERS = [0, 1, 2, 3, 4, 5]


def resized():
    """Random sizes up and down; sources from `noise`, results as sha256."""
    random = numpy.random.RandomState(20)
    cases = [(7, 5, 3, 4, f, 2) for f in FILTERS] + [(5, 3, 5, 3, 3, 3), (9, 4, 9, 2, 3, 4), (4, 9, 2, 9, 3, 5), (1, 1, 8, 8, 3, 6)]
    cases += [(1, 700, 24, 24, 3, 7), (900, 1, 24, 24, 3, 8), (97, 61, 224, 224, 3, 9), (224, 224, 224, 224, 3, 10), (3, 200, 2, 1, 3, 1)]
    cases += [(300, 376, 224, 224, 3, 11), (300, 377, 224, 224, 3, 12)]  # the last size before and the first after the order of passes changes
    for i in range(200):
        width, height = (int(v) for v in random.randint(1, 60, 2))
        to = [int(v) for v in (random.randint(1, 90, 2) if i % 2 else random.randint(1, 24, 2))]
        cases.append((width, height, *to, int(FILTERS[i % 6] if i % 3 else 3), i + 100))
    for width, height, to_width, to_height, resample, seed in cases:
        source = noise(width, height, 3, seed)
        out = numpy.array(Image.fromarray(source).resize((to_width, to_height), resample))
        entry = dict(width=width, height=height, to_width=to_width, to_height=to_height, resample=resample, seed=seed)
        entry["sha256"] = hashlib.sha256(out.tobytes()).hexdigest()
        made["resized"].append(entry)


def pixels():
    """BlipImageProcessorPil on noise: every switch once, float32 [3, H, W]."""
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    rules = [
        {"size": {"height": 24, "width": 24}},
        {"size": 12, "resample": 2, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2]},
        {"size": {"height": 10, "width": 14}, "rescale_factor": 0.00784313725490196, "do_normalize": False},
        {"size": {"height": 9, "width": 9}, "do_rescale": False, "image_mean": 100.5, "image_std": 58.25},
        {"do_resize": False},
        {"do_resize": False, "do_rescale": False, "do_normalize": False},
    ]
    for i, rule in enumerate(rules):
        source = noise(31, 19, 3, 40 + i)
        out = BlipImageProcessorPil(**rule)(Image.fromarray(source), return_tensors="np")["pixel_values"]
        made["pixels"].append({"rule": rule, "width": 31, "height": 19, "seed": 40 + i, "dims": list(out.shape), **keep(out.astype(numpy.float32).tobytes())})


if __name__ == "__main__":
    HERE.mkdir(parents=True, exist_ok=True)
    for old in HERE.iterdir():
        old.unlink()
    pictures()
    resized()
    pixels()
    (HERE / "expected.bin").write_bytes(blobs)
    lists = ",\n".join(
        f' "{key}": ' + (json.dumps(value) if isinstance(value, str) else "[\n" + ",\n".join("  " + json.dumps(v) for v in value) + "\n ]")
        for key, value in made.items()
    )
    (HERE / "expected.json").write_text("{\n" + lists + "\n}\n")
    print(sum(f.stat().st_size for f in HERE.iterdir()), "bytes in", len(list(HERE.iterdir())), "files")
