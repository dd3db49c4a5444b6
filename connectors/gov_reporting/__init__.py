"""The Government reporting system (Hệ thống thông tin báo cáo Chính phủ): report packets out and in."""
