"""The machine: devices, processes, signals, look-ahead."""
