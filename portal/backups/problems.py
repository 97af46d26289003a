class CannotBackUp(Exception):
    """Why a backup cannot be made, checked or restored; a sentence for the administrator."""
