"""Synthetic chest films with known truth, drawn from a seed: no patient data."""

from portal.imaging.phantom.demo_set import read_truth, write_demo_set
from portal.imaging.phantom.findings import FINDINGS
from portal.imaging.phantom.phantom import Phantom, make_phantom

__all__ = ["FINDINGS", "Phantom", "make_phantom", "read_truth", "write_demo_set"]
