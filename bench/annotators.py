"""Milliseconds of the processor's time that OpenCV and NumPy take on one thread for the annotators of bench/annotators.ts: a list for each
name that is read, of REPEATS runs after one that does not count.

python annotators.py PICTURE REPEATS    (PICTURE: RGB bytes of a square; needs opencv-python-headless)
"""
import json, math, sys, time
import cv2
import numpy as np

cv2.setNumThreads(1)
data = np.fromfile(sys.argv[1], np.uint8)
side = math.isqrt(data.size // 3)
original = data.reshape(side, side, 3)
picture = original.copy()
floats = lambda: picture.astype(np.float32)
three = lambda grey: cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def hough():
    canvas = np.zeros_like(picture)
    found = cv2.HoughLinesP(cv2.Canny(picture, 50, 150), 1, np.pi / 180, 50, minLineLength=30, maxLineGap=5)
    for x0, y0, x1, y1 in np.array(found).reshape(-1, 4).tolist() if found is not None else []:
        cv2.line(canvas, (x0, y0), (x1, y1), (255, 255, 255), 1)


def xdog():
    values = floats()
    dog = 255 - np.min(cv2.GaussianBlur(values, (0, 0), 5) - cv2.GaussianBlur(values, (0, 0), 0.5), axis=2)
    return three(((2 * (255 - dog.clip(0, 255).astype(np.uint8))) > 32).astype(np.uint8) * 255)


def lineart():
    values = floats()
    darker = np.min(cv2.GaussianBlur(values, (0, 0), 6) - values, axis=2).clip(0, 255)
    return three((darker / max(16, np.median(darker[darker > 8])) * 127).clip(0, 255).astype(np.uint8))


def normal():
    depth = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    x, y = cv2.Sobel(depth, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(depth, cv2.CV_32F, 0, 1, ksize=3)
    background = (depth - depth.min()) / (depth.max() - depth.min()) < 0.1
    x[background], y[background] = 0, 0
    vectors = np.stack([x, y, np.ones_like(x) * (2 * np.pi)], axis=2)
    vectors /= np.sum(vectors**2, axis=2, keepdims=True) ** 0.5
    return (vectors * 127.5 + 127.5).clip(0, 255).astype(np.uint8)[:, :, ::-1]


def shuffle():
    def surface():
        noise = np.random.uniform(0, 1, (side // 256 + 2, side // 256 + 2))
        noise = cv2.resize(noise, (side + 512, side + 512), interpolation=cv2.INTER_CUBIC)[256:-256, 256:-256]
        noise = noise - noise.min()
        return (noise / noise.max() * (side - 1)).astype(np.float32)

    return cv2.remap(picture, surface(), surface(), cv2.INTER_LINEAR)


def cells():
    small = cv2.resize(picture, (side // 64, side // 64), interpolation=cv2.INTER_CUBIC)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_NEAREST)


def white(mask):
    out = np.zeros_like(picture)
    out[mask] = 255
    return out


# canny, binary and invert are written over their picture, as they are in the service.
def canny():
    cv2.cvtColor(cv2.Canny(picture, 100, 200), cv2.COLOR_GRAY2RGB, picture)


def binary():
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    cv2.cvtColor(cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)[1], cv2.COLOR_GRAY2RGB, picture)


RUNS = {
    "canny": canny,
    "hough_lines": hough,
    "lineart_standard": lineart,
    "scribble": lambda: white(np.min(picture, axis=2) < 127),
    "scribble_xdog": xdog,
    "threshold": lambda: white(np.min(picture, axis=2) > 127),
    "binary": binary,
    "invert": lambda: cv2.bitwise_not(picture, picture),
    "normal_from_depth": normal,
    "tile": lambda: cv2.resize(picture, (int(side / 2.5), int(side / 2.5)), interpolation=cv2.INTER_AREA),
    "blur": lambda: cv2.GaussianBlur(picture, (0, 0), 9),
    "color_grid": cells,
    "recolor_luminance": lambda: three(cv2.cvtColor(picture, cv2.COLOR_BGR2LAB)[:, :, 0]),
    "recolor_intensity": lambda: three(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[:, :, 2]),
    "shuffle": shuffle,
}


def milliseconds(run, repeats):
    run()
    times = []
    for _ in range(repeats):
        picture[:] = original
        start = time.process_time()
        run()
        times.append(1000 * (time.process_time() - start))
    return times


for name in sys.stdin:
    print(json.dumps(milliseconds(RUNS[name.strip()], int(sys.argv[2]))), flush=True)
