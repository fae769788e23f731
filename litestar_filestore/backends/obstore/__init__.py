"""Object stores through obstore: S3, GCS, Azure, HTTP and WebDAV."""
