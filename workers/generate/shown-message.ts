/** A folder and what follows it, up to the file's name. */
const PATH = /(?<=^|[\s'"`(=:])\/(?:[^\s'"`():/]+\/)+/g;

/** An error's message as a client may read it: files are named, and where they lie on the server is not said. */
export const shownMessage = ({ message }: { message: string }): string => message.replace(PATH, "");
