"""Tests of a room by itself: no process is started."""
