"""The national public service portal over SOAP: sink and simulator."""
