"""A multi-model endpoint by the SageMaker Python SDK 2, from its archives to its end, and jobs.

``python sdk_2.py IMAGE DIRECTORY``: DIRECTORY has the archives. Prints what it saw as one line of JSON.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

import sagemaker
from botocore.exceptions import ClientError
from sagemaker.deserializers import JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.model import Model
from sagemaker.multidatamodel import MultiDataModel
from sagemaker.predictor import Predictor
from sagemaker.s3 import S3Downloader, S3Uploader
from sagemaker.serializers import JSONSerializer
from sagemaker.utils import name_from_base

image, directory = sys.argv[1], Path(sys.argv[2])
first, *others, last = sorted(directory.glob("*.tar.gz"))

session = sagemaker.Session()
role = sagemaker.get_execution_role()
bucket = session.default_bucket()
name = name_from_base("cities")
prefix = f"s3://{bucket}/{name}/"
saw = {"role": role, "bucket": bucket, "name": name}
saw["reports to AWS"] = not session.sagemaker_config["SageMaker"]["PythonSDK"]["Modules"]["TelemetryOptOut"]

models = MultiDataModel(
    name=name,
    model_data_prefix=prefix,
    image_uri=image,
    role=role,
    env={"FEATURES": "2"},
    predictor_cls=Predictor,
    sagemaker_session=session,
)
models.add_model(str(first))
for archive in others:
    models.add_model(str(archive), f"cities/{archive.name}")
predictor = models.deploy(
    initial_instance_count=1,
    instance_type="ml.m5.xlarge",
    serializer=JSONSerializer(),
    deserializer=JSONDeserializer(),
    tags=[{"Key": "project", "Value": "prices"}],
    wait=False,  # which it would do for 30 s before its first look
)
session.wait_for_endpoint(predictor.endpoint_name, poll=1)
saw["listed"] = sorted(models.list_models())
rows = {"features": [[1, 1], [0, -2]]}
saw["predictions"] = {model: predictor.predict(rows, target_model=model)["predictions"] for model in saw["listed"]}

uploaded = session.upload_data(str(last), bucket=bucket, key_prefix="trained")
saw["added"] = models.add_model(uploaded, f"later/{last.name}")
saw["prediction of added"] = predictor.predict(rows, target_model=f"later/{last.name}")["predictions"]
saw["listed with added"] = sorted(models.list_models())

try:
    predictor.predict(rows, target_model="atlantis.tar.gz")
except session.sagemaker_runtime_client.exceptions.ValidationError as error:
    saw["error"] = error.response["Error"]["Message"]

# Who gives a prefix has to have the bucket: the SDK creates none for what S3 says to a listing.
of_a_team = sagemaker.Session(default_bucket="of-a-team", default_bucket_prefix="team")
try:
    of_a_team.default_bucket()
except ClientError as error:
    saw["without its bucket"] = error.response["Error"]["Code"]
session.boto_session.client("s3").create_bucket(Bucket="of-a-team")
saw["uploaded for a team"] = of_a_team.upload_data(str(last))

control = session.sagemaker_client
endpoint = control.describe_endpoint(EndpointName=predictor.endpoint_name)
saw["status"] = endpoint["EndpointStatus"]
saw["tags"] = control.list_tags(ResourceArn=endpoint["EndpointArn"])["Tags"]

# As AWS's own integration tests do before they delete an endpoint: it has neither.
saw["monitors"], saw["context"] = predictor.list_monitors(), predictor.endpoint_context()

predictor.delete_model()
predictor.delete_endpoint()
control.get_waiter("endpoint_deleted").wait(EndpointName=name)
saw["left"] = [
    *control.list_models(NameContains=name)["Models"],
    *control.list_endpoint_configs(NameContains=name)["EndpointConfigs"],
    *control.list_endpoints(NameContains=name)["Endpoints"],
]

model = Model(image_uri=image, model_data=uploaded, role=role, sagemaker_session=session, name=name)
transformer = model.transformer(1, "ml.m5.xlarge", strategy="SingleRecord", assemble_with="Line", env={"FEATURES": "2"})
records = "".join(json.dumps({"id": number, "features": [[number, number]]}) + "\n" for number in range(3))
source = S3Uploader.upload_string_as_file_body(
    records, f"s3://{bucket}/{name}/records.jsonl", sagemaker_session=session
)
joined = {"join_source": "Input", "output_filter": "$['id','SageMakerOutput']"}
transformer.transform(source, content_type="application/json", split_type="Line", wait=False, logs=False, **joined)
transform_job = {"TransformJobName": transformer.latest_transform_job.name}
control.get_waiter("transform_job_completed_or_stopped").wait(**transform_job)
with contextlib.redirect_stdout(io.StringIO()) as log:
    transformer.wait(logs=True)
saw["transform log"] = log.getvalue()
output = S3Downloader.read_file(f"{transformer.output_path}/records.jsonl.out", session)
saw["transformed"] = [json.loads(line) for line in output.splitlines()]
transformer.delete_model()

estimator = Estimator(
    """command:sh -c 'cp -r "$SM_CHANNEL_TRAIN"/. "$SM_MODEL_DIR"; echo "loss=0.5;"'""",
    role,
    1,
    "ml.m5.xlarge",
    output_path=f"s3://{bucket}/{name}",
    base_job_name=name,
    sagemaker_session=session,
    metric_definitions=[{"Name": "loss", "Regex": "loss=(.*?);"}],
)
with contextlib.redirect_stdout(io.StringIO()) as log:
    estimator.fit({"train": uploaded})
saw["training log"] = log.getvalue()
saw["trained"] = estimator.model_data
saw["metrics"] = estimator.latest_training_job.describe()["FinalMetricDataList"]

print("\n" + json.dumps(saw, default=str))  # what waits for an endpoint leaves its line unended
