"""Object storage through obstore.

`obstore_backend`: `ObstoreBackend` and the URLs that name a store; the only module here that works without obstore.
`opening`: the driver for a URL or a store. `obstore_driver`: the driver; `kinds`: what the kinds of stores can do.
`puts`, `gets`: multipart uploads, and reading ahead. `webdav_servers`, `s3_beside_obstore`: what obstore gets wrong on
HTTP servers, and what it cannot do on S3. `obstore_errors`: what its exceptions mean.
"""
