"""Protection policy: files, maps, counters. `underpass.shield.shield.Shield` is the whole of it."""
