"""The words of periodic reports: periods, forms, packets. Pure: no clock, no database, no wire."""
