"""What calls need of gunicorn, for whoever starts it without `run.py serve`: it reads this file by itself.

`gunicorn -k gthread --threads 100 'web:create_app()'`, in this folder, ends its calls before it ends itself.
"""

keepalive = 0
max_requests = 0
graceful_timeout = 10
control_socket_disable = True


def post_worker_init(worker):
    # Not imported above: a gevent worker has to patch the standard library before anything of ours comes in.
    from web.server import drain_on_exit

    drain_on_exit(worker)
