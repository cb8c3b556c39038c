"""A model's code that calls AWS without any configuration, as a handler and as a container of its own."""

ASKS = """
import json, os
import boto3

def asks():
    body = boto3.client("s3").get_object(Bucket="features", Key="feature.txt")["Body"].read().decode()
    method = boto3.Session().get_credentials().method
    return [body, method, boto3.client("sts").get_caller_identity()["Arn"]]
"""
HANDLER = (
    ASKS
    + """
def model_fn(directory):
    return asks()  # at the load already

def predict_fn(data, model):
    return [model, asks()]
"""
)
SERVER = (
    ASKS
    + """
from http.server import BaseHTTPRequestHandler, HTTPServer

class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer([asks(), asks()] if self.path.endswith("invoke") else {})

    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("", int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Server).serve_forever()
"""
)
ROLE = "arn:aws:sts::123456789012:assumed-role/localmme/SageMaker"
SEEN = ["0.25", "container-role", ROLE]  # what asks() returns
