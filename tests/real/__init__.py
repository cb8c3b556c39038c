"""Tests against real servers, clients and a real browser."""
