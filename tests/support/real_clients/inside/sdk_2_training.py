"""A model is trained and served among many, by the SageMaker Python SDK 2's estimator of a framework.

``python sdk_2_training.py DIRECTORY``: DIRECTORY has the code, ``train.py``, and data, ``a.csv``. Prints what it saw as
one line of JSON.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy
import sagemaker
from sagemaker.multidatamodel import MultiDataModel
from sagemaker.sklearn import SKLearn

directory = Path(sys.argv[1])
session = sagemaker.Session()
bucket = session.default_bucket()
session.upload_data(str(directory / "a.csv"), bucket, "data")
estimator = SKLearn(
    "train.py",
    source_dir=str(directory),
    role=sagemaker.get_execution_role(),
    instance_type="ml.m5.large",
    instance_count=1,
    framework_version="1.2-1",
    py_version="py3",
    hyperparameters={"scale": 3},
    metric_definitions=[{"Name": "loss", "Regex": "loss=(.*);"}],
)
with contextlib.redirect_stdout(io.StringIO()) as log:
    estimator.fit({"train": f"s3://{bucket}/data"})
described = estimator.latest_training_job.describe()
models = MultiDataModel("many", f"s3://{bucket}/models/", model=estimator.create_model(), sagemaker_session=session)
predictor = models.deploy(1, "ml.m5.large", wait=False)  # its own wait takes half a minute
waiter = session.sagemaker_client.get_waiter("endpoint_in_service")
waiter.wait(EndpointName=predictor.endpoint_name, WaiterConfig={"Delay": 1})
models.add_model(estimator.model_data, "first.tar.gz")
saw = {
    "log": log.getvalue(),
    "status": described["TrainingJobStatus"],
    "metrics": {each["MetricName"]: each["Value"] for each in described["FinalMetricDataList"]},
    "models": list(models.list_models()),
    "prediction": predictor.predict(numpy.array([[1.0, 2.0]]), target_model="first.tar.gz").tolist(),
}
print(json.dumps(saw))
