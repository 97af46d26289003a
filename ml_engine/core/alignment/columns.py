"""The columns of aligned.npy. Apart from the code that computes them, so that they can be imported without torch."""

NAMES = ("ncc_before", "ncc_after", "ssim_before", "ssim_after", "frame_filled")
