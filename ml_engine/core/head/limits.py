"""What a semi-supervised head needs. Does not import torch."""

LEAST_ABNORMAL = 10  # films confirmed as abnormal
