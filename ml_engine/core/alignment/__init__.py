"""The alignment stage (paper, section 3.1): films brought into one frame.

Import from its modules. Nothing is imported here, so that `alignment.config` is to be had without torch:
the portal reads and checks settings in processes that must stay small.
"""
