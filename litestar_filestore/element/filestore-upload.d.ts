/** Types of `<filestore-upload>`, for TypeScript. The page docs/features/upload-element.md describes the element. */

/** What `filestore:progress` tells: bytes of the file that have been sent, and its size. */
export interface FilestoreProgress {
  readonly file: File;
  readonly loaded: number;
  readonly total: number;
}

/** What `filestore:done` tells: the reference to send where a file is expected. */
export interface FilestoreDone {
  readonly file: File;
  readonly reference: string;
}

/** What `filestore:error` tells. The status is `undefined` if the element refused the file, 0 without an answer. */
export interface FilestoreError {
  readonly file: File;
  readonly message: string;
  readonly status?: number;
}

export interface FilestoreUploadElement extends HTMLElement {
  /** The reference of the uploaded file, empty without one; with `multiple`, those of all files. */
  readonly value: string | string[];
  readonly form: HTMLFormElement | null;
  readonly validity: ValidityState;
  readonly willValidate: boolean;
  checkValidity(): boolean;
  reportValidity(): boolean;
}

declare global {
  interface HTMLElementTagNameMap {
    'filestore-upload': FilestoreUploadElement;
  }

  interface HTMLElementEventMap {
    'filestore:progress': CustomEvent<FilestoreProgress>;
    'filestore:done': CustomEvent<FilestoreDone>;
    'filestore:error': CustomEvent<FilestoreError>;
  }
}
