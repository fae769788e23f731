"""Objects as files of a local folder.

`local_backend`: `LocalBackend` and its driver. `tree`: the folder, which no key can leave. `writes`: one write,
invisible until it is complete. `reads`: reads of one version of an object.
"""
