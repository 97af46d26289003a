"""The columns of aligned.npy, in a module of their own, so that they can be imported without torch."""

NAMES = ("ncc_before", "ncc_after", "ssim_before", "ssim_after", "frame_filled")
