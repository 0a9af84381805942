"""gunicorn's settings: `gunicorn --config python:readerstudy.gunicorn_config ...`."""

workers = 2
threads = 4
# Newer releases open a socket in the home folder otherwise. Everything that the
# application writes lies in its data folder.
control_socket_disable = True
