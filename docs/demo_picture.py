"""Draw the README's picture from a run folder: ``python docs/demo_picture.py RUN PICTURE.png``."""

from __future__ import annotations

import io
import sys

import matplotlib.image as mpimg
import numpy as np
from matplotlib.figure import Figure

from brg_prob.figures import field_picture, propagator_picture
from brg_prob.pipeline import load_run


def _raster(figure: Figure) -> np.ndarray:
    """Return a figure as pixels."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, facecolor="white")
    buffer.seek(0)
    return mpimg.imread(buffer)


def main(folder: str, target: str) -> None:
    """Put two of the report's figures side by side."""
    tree = load_run(folder).tree
    images = [_raster(draw(tree).figure) for draw in (field_picture, propagator_picture)]
    height = max(image.shape[0] for image in images)
    padded = [np.pad(i, ((0, height - i.shape[0]), (0, 0), (0, 0)), constant_values=1.0) for i in images]
    mpimg.imsave(target, np.concatenate(padded, axis=1))


if __name__ == "__main__":
    main(*sys.argv[1:3])
