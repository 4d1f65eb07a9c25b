"""The pure core: functions and frozen dataclasses without I/O, threads, torch or any platform."""
