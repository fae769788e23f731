"""Storage through fsspec.

`fsspec_backend`: `FSSpecBackend`, and what its arguments name. `fsspec_driver`: the driver, which makes the file
systems. `stores`: the table of stores; `store`: their contract; `running`: the threads and loops that their calls run
in.
Object stores: `s3`, `gcs`, `azure`, over `object_stores`. File systems with folders: `sftp`, `ftp`, `webdav`, and any
other one, over `folders`. `shared_memory`: fsspec's memory. `fsspec_errors`: what the libraries' exceptions mean.

No library is imported before it is used.
"""
