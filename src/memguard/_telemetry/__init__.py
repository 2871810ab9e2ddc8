"""
Metrics for OpenTelemetry: one table, one snapshot, and who hands it over.

Only the API of OpenTelemetry is used, and none of it is imported before a program
that uses it is instrumented.
"""
