// What workers fetch beside their module.

export async function arrival(address: string): Promise<Response> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response;
}

export async function bytesAt(address: string): Promise<Uint8Array> {
  return new Uint8Array(await (await arrival(address)).arrayBuffer());
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
