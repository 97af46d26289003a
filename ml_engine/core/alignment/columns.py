"""What aligned.npy holds of each film; apart from what measures it, so that the web can read it without torch."""

NAMES = ("ncc_before", "ncc_after", "ssim_before", "ssim_after", "frame_filled")
