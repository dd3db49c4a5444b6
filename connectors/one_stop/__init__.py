"""The one-stop system (hệ thống thông tin một cửa) as a source: the OpenCPS tables, read only."""
