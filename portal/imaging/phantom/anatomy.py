"""A person's chest, drawn from a seed: sizes, courses, and the landmarks that follow from them.

All lengths are in mm of atlas space (see `canvas`). Side is -1 for the patient's right, which is on the left
of the film, and +1 for the left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from portal.imaging.phantom.canvas import CENTRE_Y, FIELD_MM, Floats, Points, Profile, Reals

CAGE_TOP = 34.0
CAGE_WIDEST = 292.0
HEART_ANCHOR = 172.0
CARINA = (-3.0, 136.0)
AORTIC_ARCH_Y = 118.0
# (centre x, centre y, semi-axis, semi-axis, depth semi-axis, degrees) at a scale of 1: left ventricle,
# right atrium, right ventricle, the part between them, outflow tract
HEART_PARTS = (
    (37.0, 252.0, 66.0, 40.0, 60.0, 42.0),
    (-11.0, 226.0, 31.0, 58.0, 52.0, -4.0),
    (13.0, 266.0, 46.0, 40.0, 60.0, 10.0),
    (10.0, 238.0, 45.0, 60.0, 60.0, -14.0),
    (18.0, 190.0, 27.0, 46.0, 50.0, -20.0),
)
_HEART_BOTTOM = 303.0  # lowest point of the left ventricle at that scale
_T1_Y, _PITCH, _PITCH_GROWTH, _CERVICAL_PITCH = 44.0, 19.5, 0.42, 17.5


@dataclass(frozen=True)
class Habitus:
    """Everything that differs between persons; the anatomy is a function of it.

    `ctr` is the cardiothoracic ratio, `half_width` the outer half width of the rib cage, `depth` half the
    front-to-back size of the trunk, `fat` the soft tissue outside the ribs, `bone` the mineral of the
    skeleton relative to a healthy adult.
    """

    sex: str
    age: int
    half_width: float
    depth: float
    fat: float
    bone: float
    ctr: float
    dome_y: float
    dome_rise: float
    rib_drop: float
    rib_pitch: float
    knob: float
    scoliosis: float
    tilt: float
    clavicle: float
    shoulder: float
    breast: float
    stomach: tuple[float, float, float, float]
    bowel: float
    vessels: float

    @cached_property
    def cage(self) -> Profile:
        """Outer half width of the rib cage at a height."""
        return Profile(lambda y: self.half_width * _cage_shape(y))

    @cached_property
    def chest(self) -> Profile:
        """Half width of the thoracic cavity at a height: inside the ribs."""
        return Profile(lambda y: np.maximum(self.half_width * _cage_shape(y) - 8.5, 0.0))

    @cached_property
    def spine(self) -> Profile:
        """x of the spine at a height."""
        return Profile(lambda y: self.scoliosis * np.sin((y - 60) / 75))

    @cached_property
    def heart_scale(self) -> tuple[float, float]:
        """Factors of the heart's parts along x and y about (0, `HEART_ANCHOR`) that give the person's CTR."""
        left, right = heart_reach((1.0, 1.0))
        across = self.ctr * 2 * self.inner_half_width / (left + right)
        to_diaphragm = (self.dome_y + 34 - HEART_ANCHOR) / (_HEART_BOTTOM - HEART_ANCHOR)
        return across, max(to_diaphragm, across**0.72)

    @property
    def inner_half_width(self) -> float:
        """Largest inner half width of the rib cage."""
        return self.half_width - 8.5

    def dome(self, side: int) -> tuple[float, float, float, float]:
        """Diaphragm on one side: x of its top, y of its top, lateral half width, drop to the angle."""
        y = self.dome_y + (14.0 if side > 0 else 0.0)
        x = side * 0.47 * self.inner_half_width
        return x, y, 0.555 * self.inner_half_width, self.dome_rise

    def dome_top(self, x: Reals, side: int) -> Reals:
        """y of the diaphragm's edge at `x` on one side."""
        centre, top, half, drop = self.dome(side)
        r = np.abs(x - centre) / half
        r = np.where((x - centre) * side < 0, r * 0.62, r)
        return np.asarray(top + drop * (0.45 * r**2 + 0.55 * (1 - np.sqrt(np.clip(1 - r**2, 0, 1)))))


def _cage_shape(y: Points) -> Points:
    rest = np.clip((CAGE_WIDEST - y) / (CAGE_WIDEST - CAGE_TOP), 0, 1)
    return np.clip(1 - rest**3.1, 0, 1) ** 0.5 * (1 - 0.05 * np.clip((y - CAGE_WIDEST) / 120, 0, 1))


def vertebra_y(number: int) -> float:
    """y of the centre of thoracic vertebra `number` (from 1)."""
    n = number - 1
    return _T1_Y + _PITCH * n + _PITCH_GROWTH * n * n


def vertebra_position(y: Floats) -> tuple[Floats, Floats]:
    """The vertebra at a height: its number minus one, and the distance from its centre in mm."""
    below = np.maximum(y - _T1_Y, 0)
    thoracic = (np.sqrt(_PITCH**2 + 4 * _PITCH_GROWTH * below) - _PITCH) / (2 * _PITCH_GROWTH)
    n = np.where(y > _T1_Y, thoracic, (y - _T1_Y) / _CERVICAL_PITCH).astype(np.float32)
    nearest = np.rint(n)
    return nearest, (n - nearest) * vertebra_pitch(nearest)


def vertebra_pitch(index: Floats) -> Floats:
    """Distance in mm from one vertebra to the next."""
    growing = _PITCH + 2 * _PITCH_GROWTH * index
    return np.where(index > 0, growing, _CERVICAL_PITCH).astype(np.float32)


def heart_reach(scale: tuple[float, float]) -> tuple[float, float]:
    """Extent in mm of a heart of this scale to the left and to the right of the midline."""
    left, right = 0.0, 0.0
    for cx, _, a, b, _, degrees in HEART_PARTS:
        angle = np.deg2rad(degrees)
        half = float(np.hypot(a * np.cos(angle), b * np.sin(angle)))
        left, right = max(left, cx + half), max(right, half - cx)
    return left * scale[0], right * scale[0]


def draw_habitus(rng: np.random.Generator) -> Habitus:
    """Return a healthy adult, drawn at random."""
    sex = "F" if rng.random() < 0.5 else "M"
    age = int(rng.integers(21, 86))
    build = rng.normal()
    male = sex == "M"
    return Habitus(
        sex=sex,
        age=age,
        half_width=float(np.clip((149 if male else 139) + 4 * build + 2.5 * rng.normal(), 130, 160)),
        depth=float(np.clip((110 if male else 104) + 7 * build + 3 * rng.normal(), 90, 128)),
        fat=float(np.clip(22 + 6 * build + 2 * rng.normal(), 10, 40)),
        bone=float(np.clip(1.08 - 0.004 * max(age - 40, 0) + 0.06 * rng.normal(), 0.75, 1.25)),
        ctr=float(rng.uniform(0.40, 0.48)),
        dome_y=float(np.clip(272 + 7 * rng.normal(), 256, 288)),
        dome_rise=float(rng.uniform(38, 54)),
        rib_drop=float(rng.uniform(-9, 9)),
        rib_pitch=float(rng.uniform(-0.5, 0.5)),
        knob=float(np.clip(15.5 + 0.07 * (age - 50) + 0.8 * rng.normal(), 13, 20)),
        scoliosis=float(2.0 * rng.normal()),
        tilt=float(rng.normal()),
        clavicle=float(rng.uniform(-7, 7)),
        shoulder=float(rng.uniform(-10, 8)),
        breast=0.0 if male else float(rng.uniform(24, 52)),
        stomach=(
            float(rng.uniform(42, 84)),
            float(rng.uniform(13, 20)),
            float(rng.uniform(18, 36)),
            float(rng.uniform(8, 19)),
        ),
        bowel=float(rng.uniform(0, 1)),
        vessels=float(rng.uniform(0.9, 1.1)),
    )


def with_ctr(habitus: Habitus, ctr: float) -> Habitus:
    """Return the same person with another cardiothoracic ratio."""
    return replace(habitus, ctr=ctr)


def draw_pose(rng: np.random.Generator, size: int) -> Points:
    """Return a random `image_from_atlas`, float64 (2, 3): shift up to 7 %, rotation up to 8 degrees, scale 0.88 to
    1.12, slight shear."""
    dx, dy = rng.uniform(-0.07, 0.07) * size, rng.uniform(-0.055, 0.055) * size
    angle = np.deg2rad(np.clip(3.2 * rng.normal(), -8, 8))
    scale = rng.uniform(0.88, 1.12) * size / FIELD_MM
    shear = rng.uniform(-0.03, 0.03)
    c, s = np.cos(angle), np.sin(angle)
    linear = scale * np.array([[c, shear * c - s], [s, shear * s + c]])
    centre = np.array([0.0, CENTRE_Y])
    shift = np.array([size / 2 + dx, size / 2 + dy])
    tx = shift[0] - (linear[0, 0] * centre[0] + linear[0, 1] * centre[1])
    ty = shift[1] - (linear[1, 0] * centre[0] + linear[1, 1] * centre[1])
    return np.array([[linear[0, 0], linear[0, 1], tx], [linear[1, 0], linear[1, 1], ty]])


def clavicle_knots(habitus: Habitus, side: int) -> Points:
    """Course of a clavicle, (n, 2), from the manubrium outwards."""
    c, wide = habitus.clavicle, habitus.half_width / 147
    lift = side * 2.0 * habitus.tilt
    knots = [(23, 95), (46, 88), (76, 75), (108, 60 - 0.4 * c), (138, 50 - c), (168, 46 - 1.3 * c)]
    return np.array([(side * x * wide, y + lift + 0.3 * c) for x, y in knots])


def landmarks(habitus: Habitus) -> dict[str, tuple[float, float]]:
    """Named points of the anatomy in the atlas, mm."""
    points: dict[str, tuple[float, float]] = {"carina": CARINA}
    for side, name in ((-1, "right"), (1, "left")):
        centre, top, _, _ = habitus.dome(side)
        angle = costophrenic_angle(habitus, side)
        clavicle = clavicle_knots(habitus, side)
        points[f"apex_{name}"] = (side * 50.0, lung_apex(habitus, side))
        points[f"costophrenic_{name}"] = angle
        points[f"dome_{name}"] = (centre, top)
        points[f"clavicle_medial_{name}"] = (float(clavicle[0, 0]), float(clavicle[0, 1]))
        points[f"clavicle_lateral_{name}"] = (float(clavicle[-1, 0]), float(clavicle[-1, 1]))
    left, right = heart_reach(habitus.heart_scale)
    down = habitus.heart_scale[1]
    points["heart_left"] = (left, _heart_y(HEART_PARTS[0], down))
    points["heart_right"] = (-right, _heart_y(HEART_PARTS[1], down))
    points["aortic_knob"] = (22.0 + habitus.knob, AORTIC_ARCH_Y)
    edge = -0.8 * right
    points["cardiophrenic_right"] = (edge, float(habitus.dome_top(np.array([edge]), -1)[0]))
    for number in (4, 10):
        y = vertebra_y(number)
        points[f"vertebra_T{number}"] = (habitus.spine.at(y), y)
    return points


def _heart_y(part: tuple[float, ...], down: float) -> float:
    """y of the extreme left or right point of one of the heart's ellipses."""
    cx, cy, a, b, _, degrees = part
    angle = np.deg2rad(degrees)
    half = np.hypot(a * np.cos(angle), b * np.sin(angle))
    offset = (a * a - b * b) * np.sin(angle) * np.cos(angle) / half
    y = cy + (offset if cx > 0 else -offset)
    return float(HEART_ANCHOR + down * (y - HEART_ANCHOR))


def lung_apex(habitus: Habitus, side: int) -> float:
    """y of the top of a lung."""
    return 46.0 + side * habitus.tilt


def costophrenic_angle(habitus: Habitus, side: int) -> tuple[float, float]:
    """Where the diaphragm meets the chest wall."""
    xs = side * np.linspace(0.6 * habitus.inner_half_width, habitus.inner_half_width, 200)
    ys = habitus.dome_top(xs, side)
    inside = np.abs(xs) < habitus.chest.exact(ys)
    i = int(np.flatnonzero(inside)[-1])
    return float(xs[i]), float(ys[i])
