"""What calls need of gunicorn, for whoever starts it without `run.py serve`: it reads this file by itself.

`gunicorn -k gthread --threads 154 'web:create_app()'`, in this folder, hands its calls over before it ends itself.
"""

keepalive = 0
max_requests = 0
# Longer than a worker needs with the longest DRAIN_SECONDS; it ends as soon as it can.
graceful_timeout = 150
control_socket_disable = True


def post_worker_init(worker):
    # Not imported above: a gevent worker has to patch the standard library before anything of ours comes in.
    from web.server import drain_on_exit

    drain_on_exit(worker)
