LAYOUT: int
