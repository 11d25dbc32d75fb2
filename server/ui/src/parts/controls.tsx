/** Buttons, fields, dialogs and the like: react-aria's, in this page's look. */
import type { ReactNode } from "react";
import {
  Button as AriaButton,
  type ButtonProps,
  Dialog as AriaDialog,
  Heading,
  Input,
  Label,
  Modal,
  ModalOverlay,
  Switch as AriaSwitch,
  TextField,
  type TextFieldProps,
} from "react-aria-components";

type Kind = "plain" | "primary" | "danger" | "quiet";

export function Button({ kind = "plain", className = "", ...props }: Omit<ButtonProps, "className"> & { kind?: Kind; className?: string }) {
  return <AriaButton {...props} className={`button ${kind} ${className}`} />;
}

export function Field({ label, ...props }: Omit<TextFieldProps, "children"> & { label: string }) {
  return (
    <TextField {...props} className="field">
      <Label>{label}</Label>
      <Input />
    </TextField>
  );
}

export function Switch({ children, ...props }: { children: ReactNode; isSelected: boolean; onChange: (on: boolean) => void; isDisabled?: boolean }) {
  return (
    <AriaSwitch {...props} className="switch">
      <span className="track" aria-hidden="true" />
      {children}
    </AriaSwitch>
  );
}

/** A dialog in the middle of the page; `onClose` is called however it ends. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ReactNode }) {
  return (
    <ModalOverlay isOpen isDismissable onOpenChange={(open) => open || onClose()} className="overlay">
      <Modal className="modal">
        <AriaDialog className="dialog">
          <Heading slot="title">{title}</Heading>
          {children}
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}

export function Badge({ tone = "neutral", children, title }: { tone?: "neutral" | "good" | "bad" | "warn" | "accent"; children: ReactNode; title?: string }) {
  return (
    <span className={`badge ${tone}`} title={title}>
      {children}
    </span>
  );
}
