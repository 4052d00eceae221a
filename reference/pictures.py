"""Writes test/fixtures/pictures/: odd picture files, and what Pillow and transformers make of them.

Goes in: nothing but this file; every pixel comes from a formula. Comes out:
  *.jpg *.png *.gif *.webp *.avif *.tif   the pictures, one oddity each
  expected.bin    zlib streams of raw RGB or float32 bytes, one after another
  expected.json   where each stream lies (`at`, `size`) and what it is; sha256 where the bytes would be too many

Pins: pillow 13.0.0, numpy 2.4.6, transformers 5.18.0 (checked below: other versions may round otherwise).
Run:  python reference/pictures.py

Expected values:
  as_transformers   Image.open(f).convert("RGB")
  as_seen           ImageOps.exif_transpose, then pasted on white through its own alpha; 16-bit grey by its high
                    byte; what a GIF's first frame leaves uncovered is see-through, as browsers draw it
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
    at = blobs.find(packed)  # many pictures look alike: one copy is enough
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


def deep(width, height, channels):
    """16-bit values whose low byte matters to whoever rounds. uint16 [H, W, C]."""
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


def picture(name, data):
    (HERE / name).write_bytes(data)
    plain, seen = as_transformers(data), as_seen(data)
    entry = {"name": name, "mode": Image.open(io.BytesIO(data)).mode}
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
    ):
        picture(name, inset_gif(canvas, key))

    picture("lossless.webp", saved(Image.fromarray(rgb), "WEBP", lossless=True))
    picture("lossless-alpha.webp", saved(Image.fromarray(rgba), "WEBP", lossless=True, exact=True))
    picture("lossy.webp", saved(image, "WEBP", quality=85, exif=exif(3)))
    picture("lossy-alpha.webp", saved(Image.fromarray(scene(40, 30, 4)), "WEBP", quality=80))
    moving = [Image.fromarray(rgba), Image.fromarray(255 - rgba)]
    picture("animated.webp", saved(moving[0], "WEBP", save_all=True, append_images=moving[1:], lossless=True, duration=90))

    picture("photo.avif", saved(image, "AVIF", quality=90))
    picture("alpha.avif", saved(Image.fromarray(scene(40, 30, 4)), "AVIF", quality=95))

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


def wide_profile():
    """An RGB profile that swaps red and blue: whoever obeys it shows other colours."""
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
    """A canvas whose only frame is 5 x 4 at (3, 2): what is outside, and what is see-through?"""
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
    cases += [(300, 376, 224, 224, 3, 11), (300, 377, 224, 224, 3, 12)]  # the last before, the first after the order of passes turns
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
