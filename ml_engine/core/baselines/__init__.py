"""Published detectors that share PatchCore's features, to compare it with (METHOD, Baselines).

Each is fitted on the same patches of the same films, aligned and masked in the same way, and gives the same two maps.
"""
