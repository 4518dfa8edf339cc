"""Exercises."""

from minilora.exercises.exercise import Exercise

EXERCISES: tuple[Exercise, ...] = ()
