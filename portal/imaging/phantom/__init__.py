"""A synthetic chest film with known truth: nobody's patient data, drawn from a seed."""

from portal.imaging.phantom.findings import FINDINGS
from portal.imaging.phantom.phantom import Phantom, make_phantom

__all__ = ["FINDINGS", "Phantom", "make_phantom"]
