"""The alignment (paper, section 3.1): affines that map every film into the canonical frame.

Import from the modules. Nothing is imported here, so that `columns` can be imported without torch.
"""
