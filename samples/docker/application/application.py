"""An application that invokes models with boto3. Nothing in it knows of localmme: its environment says where AWS is."""

import boto3

runtime = boto3.client("sagemaker-runtime")
for target_model in ("lisbon.tar.gz", "porto.tar.gz"):
    answer = runtime.invoke_endpoint(
        EndpointName="local", TargetModel=target_model, ContentType="application/json", Body=b"[50, 100]"
    )
    print(target_model, answer["Body"].read().decode(), flush=True)
