"""
The order, budget, drivers and audit of a shutdown.

`order` and `plan` decide and touch nothing; `perform` and the two drivers do what
the plan says; `report` and `audit` tell what came of it.
"""
