"""The hands: tools that the server runs itself, and the toolbox that runs them within bounds.

`toolbox.Toolbox` is what others need: it opens the families named in `settings.ToolSettings`
(bash, sql, …), and hands a run the tools that its request named. What a call can do is bounded by
the kernel (bash) and by the database (sql), not by reading what the model wrote.
"""
