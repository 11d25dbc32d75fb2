"""Tools that the server runs itself, and the toolbox that runs them within limits.

`toolbox.Toolbox` is the interface: it opens the families named in `settings.ToolSettings` (bash,
sql, …), and gives a run the tools that its request names. The kernel (bash) and the database (sql)
limit what a call can do; nothing relies on reading what the model wrote.
"""
