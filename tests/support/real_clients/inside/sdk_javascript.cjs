// A multi-model endpoint by the AWS SDK for JavaScript, from its archives to its end.
//
// `node sdk_javascript.cjs IMAGE DIRECTORY`: DIRECTORY has the archives. Prints what it saw as one line of JSON.

const fs = require("node:fs");
const path = require("node:path");
const s3 = require("@aws-sdk/client-s3");
const { getSignedUrl } = require("@aws-sdk/s3-request-presigner");
const sagemaker = require("@aws-sdk/client-sagemaker");
const runtime = require("@aws-sdk/client-sagemaker-runtime");
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");

const [image, directory] = process.argv.slice(2);
const archives = fs.readdirSync(directory).sort();
const name = "from-javascript";
const saw = {};

async function main() {
  saw.account = (await new STSClient().send(new GetCallerIdentityCommand({}))).Account;

  const store = new s3.S3Client();
  const inBucket = (key) => ({ Bucket: name, Key: key });
  await store.send(new s3.CreateBucketCommand({ Bucket: name }));
  const [presigned, ...others] = archives;
  for (const archive of others) {
    const body = fs.createReadStream(path.join(directory, archive));
    await store.send(new s3.PutObjectCommand({ ...inBucket(`models/${archive}`), Body: body }));
  }
  // Signed before there is a body: the SDK puts the checksum of nothing into the URL.
  const putUrl = await getSignedUrl(store, new s3.PutObjectCommand(inBucket(`models/${presigned}`)));
  saw.checksum = new URL(putUrl).searchParams.get("x-amz-checksum-crc32");
  const body = fs.readFileSync(path.join(directory, presigned));
  saw.uploaded = (await fetch(putUrl, { method: "PUT", body })).status;
  const getUrl = await getSignedUrl(store, new s3.GetObjectCommand(inBucket(`models/${presigned}`)));
  saw.same = body.equals(Buffer.from(await (await fetch(getUrl)).arrayBuffer()));
  const pages = s3.paginateListObjectsV2({ client: store, pageSize: 3 }, { Bucket: name, Prefix: "models/" });
  saw.listed = [];
  for await (const page of pages) saw.listed.push(...page.Contents.map((each) => each.Key));

  const control = new sagemaker.SageMakerClient();
  await control.send(
    new sagemaker.CreateModelCommand({
      ModelName: name,
      ExecutionRoleArn: "arn:aws:iam::123456789012:role/any",
      PrimaryContainer: { Image: image, Mode: "MultiModel", ModelDataUrl: `s3://${name}/models/` },
    }),
  );
  await control.send(
    new sagemaker.CreateEndpointConfigCommand({
      EndpointConfigName: name,
      ProductionVariants: [
        { VariantName: "v", ModelName: name, InstanceType: "ml.m5.large", InitialInstanceCount: 1 },
      ],
    }),
  );
  const endpoint = { EndpointName: name };
  await control.send(new sagemaker.CreateEndpointCommand({ ...endpoint, EndpointConfigName: name }));
  const waiting = { client: control, maxWaitTime: 60, minDelay: 1 };
  saw.waited = (await sagemaker.waitUntilEndpointInService(waiting, endpoint)).state;

  const caller = new runtime.SageMakerRuntimeClient();
  const request = {
    ...endpoint,
    ContentType: "application/json",
    Body: JSON.stringify({ features: [[1, 1], [0, -2]] }),
  };
  saw.predictions = {};
  for (const archive of archives) {
    const answer = await caller.send(new runtime.InvokeEndpointCommand({ ...request, TargetModel: archive }));
    saw.predictions[archive] = JSON.parse(answer.Body.transformToString()).predictions;
  }
  const streamed = new runtime.InvokeEndpointWithResponseStreamCommand(request);
  const target = (next) => async (args) => {
    args.request.headers["x-amzn-sagemaker-target-model"] = presigned; // the operation has no TargetModel
    return next(args);
  };
  streamed.middlewareStack.add(target, { step: "build" });
  const parts = [];
  for await (const event of (await caller.send(streamed)).Body) parts.push(Buffer.from(event.PayloadPart.Bytes));
  saw.streamed = JSON.parse(Buffer.concat(parts).toString()).predictions;
  try {
    await caller.send(new runtime.InvokeEndpointCommand({ ...request, TargetModel: "atlantis.tar.gz" }));
  } catch (error) {
    saw.error = [error.name, error.$metadata.httpStatusCode, error.Message ?? error.message];
  }

  await control.send(new sagemaker.DeleteEndpointCommand(endpoint));
  saw.deleted = (await sagemaker.waitUntilEndpointDeleted(waiting, endpoint)).state;
  await control.send(new sagemaker.DeleteEndpointConfigCommand({ EndpointConfigName: name }));
  await control.send(new sagemaker.DeleteModelCommand({ ModelName: name }));
  const keys = saw.listed.map((key) => ({ Key: key }));
  await store.send(new s3.DeleteObjectsCommand({ Bucket: name, Delete: { Objects: keys } }));
  await store.send(new s3.DeleteBucketCommand({ Bucket: name }));
  console.log(JSON.stringify(saw));
}

main();
