"""The embedding map: one vector a film, the films most like each film, and places of all films in the plane."""
