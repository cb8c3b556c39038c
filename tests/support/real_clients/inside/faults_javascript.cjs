// What the AWS SDK for JavaScript makes of faults: `node faults_javascript.cjs FAULT ...`.
//
// Each is met by the calls of the model of its name. Prints what it saw as one line of JSON.

const runtime = require("@aws-sdk/client-sagemaker-runtime");

const caller = new runtime.SageMakerRuntimeClient({ maxAttempts: 1 });
const request = (name) => ({ EndpointName: "local", TargetModel: name, Body: "{}" });

async function main() {
  const saw = {};
  for (const name of process.argv.slice(2)) {
    try {
      await caller.send(new runtime.InvokeEndpointCommand(request(name)));
    } catch (error) {
      saw[name] = [error.name, error.$metadata?.httpStatusCode, error.OriginalStatusCode];
    }
  }
  const patient = new runtime.SageMakerRuntimeClient({ maxAttempts: 3 });
  const answer = await patient.send(new runtime.InvokeEndpointCommand(request("retried")));
  saw.retried = answer.$metadata.attempts;
  const parts = [];
  try {
    const streamed = new runtime.InvokeEndpointWithResponseStreamCommand(request("streamed"));
    const target = (next) => async (args) => {
      args.request.headers["x-amzn-sagemaker-target-model"] = "streamed"; // the operation has no TargetModel
      return next(args);
    };
    streamed.middlewareStack.add(target, { step: "build" });
    for await (const event of (await caller.send(streamed)).Body) {
      parts.push(Buffer.from(event.PayloadPart.Bytes).toString());
    }
  } catch (error) {
    saw.streamed = [error.name, parts];
  }
  console.log(JSON.stringify(saw));
}

main();
