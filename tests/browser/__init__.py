"""The magics in a real JupyterLab, driven through Chromium."""
