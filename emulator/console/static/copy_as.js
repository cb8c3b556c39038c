/** A call as the text of a program that makes it again: boto3, the AWS CLI, curl. Pure functions of text. */

const MOST_BYTES_INLINE = 8192; // longer ones are read from a file
export const FILE = "body.bin";

// Header of the request, member of boto3's request, option of the AWS CLI.
const FIELDS = [
  ["X-Amzn-SageMaker-Target-Model", "TargetModel", "--target-model"],
  ["Content-Type", "ContentType", "--content-type"],
  ["Accept", "Accept", "--accept"],
  ["X-Amzn-SageMaker-Custom-Attributes", "CustomAttributes", "--custom-attributes"],
  ["X-Amzn-SageMaker-Session-Id", "SessionId", "--session-id"],
];

/** `emulator` is {url, region}; `body` a Uint8Array, or null if it is not known: then it is read from a file. */
export function copies(call, emulator, body) {
  if (call.operation === "async-invocations") return [];
  const streams = call.operation === "invocations-response-stream";
  const inline = body !== null && body.length <= MOST_BYTES_INLINE ? body : null;
  const fields = FIELDS.map(([header, member, option]) => [header, member, option, valueOf(call, header)]);
  const texts = [
    ["boto3", boto3(call, emulator, fields, inline, streams)],
    ["curl", curl(call, emulator, fields, inline)],
  ];
  // The AWS CLI has no command for streams.
  if (!streams) texts.splice(1, 0, ["AWS CLI", awsCli(call, emulator, fields, inline)]);
  return texts;
}

function valueOf(call, header) {
  if (header === "X-Amzn-SageMaker-Target-Model") return call.target_model || null;
  const name = Object.keys(call.request_headers).find((each) => each.toLowerCase() === header.toLowerCase());
  return name === undefined ? null : utf8(call.request_headers[name]);
}

/** Header values are bytes, shown as Latin-1; mostly, they are UTF-8. */
function utf8(latin1) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(latin1, (letter) => letter.charCodeAt(0)));
  } catch {
    return latin1;
  }
}

function boto3(call, { url, region }, fields, body, streams) {
  const members = fields.filter(([, , , value]) => value !== null).map(([, member, , value]) => [member, pythonText(value)]);
  members.unshift(["EndpointName", pythonText(call.endpoint_name)]);
  members.push(["Body", body === null ? `open(${pythonText(FILE)}, "rb")` : pythonBytes(body)]);
  const method = streams ? "invoke_endpoint_with_response_stream" : "invoke_endpoint";
  const show = streams
    ? 'for event in answer["Body"]:\n    print(event["PayloadPart"]["Bytes"])'
    : 'print(answer["Body"].read())';
  return `import boto3

runtime = boto3.client(
    "sagemaker-runtime",
    endpoint_url=${pythonText(url)},
    region_name=${pythonText(region)},
)
answer = runtime.${method}(
${members.map(([name, value]) => `    ${name}=${value},\n`).join("")})
${show}
`;
}

function awsCli(call, { url, region }, fields, body) {
  // A value that begins like this is taken for the address of a file with the value.
  const special = fields.filter(([, , , value]) => value !== null && /^(fileb?|https?):\/\//.test(value));
  const plain = fields.filter((field) => field[3] !== null && !special.includes(field));
  const json = JSON.stringify(Object.fromEntries(special.map(([, member, , value]) => [member, value])));
  const words = [
    "aws sagemaker-runtime invoke-endpoint",
    `--endpoint-url ${shell(url)} --region ${shell(region)}`,
    ...(special.length ? [`--cli-input-json ${shell(json)}`] : []),
    `--endpoint-name ${shell(call.endpoint_name)}`,
    ...plain.map(([, , option, value]) => `${option}=${shell(value)}`),
    `--body ${body === null ? `fileb://${FILE}` : "fileb:///dev/stdin"}`,
    "/dev/stdout",
  ];
  return `${body === null ? "" : `${printf(body)} |\n`}${words.join(" \\\n    ")}\n`;
}

function curl(call, { url }, fields, body) {
  const text = body === null ? null : printable(body);
  const address = `${url}/endpoints/${encodeURIComponent(call.endpoint_name)}/${call.operation}`;
  const words = [`curl --silent --show-error ${shell(address)}`];
  for (const [header, , , value] of fields) {
    // Without them, curl would send its own.
    const own = header === "Content-Type" || header === "Accept";
    if (value !== null) words.push(`-H ${shell(value === "" ? `${header};` : `${header}: ${value}`)}`);
    else if (own) words.push(`-H ${shell(`${header}:`)}`);
  }
  if (text !== null) words.push(`--data-raw ${shell(text)}`);
  else words.push(`--data-binary ${body === null ? `@${FILE}` : "@-"}`);
  const pipe = body !== null && text === null ? `${printf(body)} |\n` : "";
  return `${pipe}${words.join(" \\\n    ")}\n`;
}

/** One word of a POSIX shell. */
export function shell(text) {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A command that writes these bytes. */
function printf(bytes) {
  const text = printable(bytes);
  if (text !== null) return `printf '%s' ${text === "" ? "''" : shell(text)}`;
  const octal = (byte) => `\\${byte.toString(8).padStart(3, "0")}`;
  return `printf '${Array.from(bytes, (byte) => (/[A-Za-z0-9]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : octal(byte))).join("")}'`;
}

/** The bytes as text, if a shell's word can have it; else null. */
function printable(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return /[\x00-\x08\x0b-\x1f\x7f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

/** A text as Python writes it. JSON's escapes are Python's. */
export function pythonText(text) {
  return JSON.stringify(text);
}

function pythonBytes(bytes) {
  const shown = Array.from(bytes, (byte) => {
    const letter = String.fromCharCode(byte);
    if (letter === "\\" || letter === '"') return `\\${letter}`;
    if (letter === "\n") return "\\n";
    return byte >= 32 && byte < 127 ? letter : `\\x${byte.toString(16).padStart(2, "0")}`;
  });
  return `b"${shown.join("")}"`;
}
