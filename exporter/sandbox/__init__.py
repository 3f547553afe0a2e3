"""A stand-in for Seasalt's APIs for demos and tests: strict, and with made-up data."""

from exporter.sandbox.app import Sandbox
from exporter.sandbox.companies import SandboxBot, SandboxWorkspace
from exporter.sandbox.conversations import Conversations, Manner
from exporter.sandbox.temperaments import Temperament
from exporter.sandbox.troubles import Trouble

__all__ = [
    "Conversations",
    "Manner",
    "Sandbox",
    "SandboxBot",
    "SandboxWorkspace",
    "Temperament",
    "Trouble",
]
